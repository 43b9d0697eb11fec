# The short way in; meson does the work.
BUILD ?= build
.PHONY: all test
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) && cp -f $(BUILD)/src/cli/quern ./quern
$(BUILD)/build.ninja:
	meson setup $(BUILD)
test: all
	meson test -C $(BUILD) --print-errorlogs
