# The short way in; Meson does the work, and can be used directly (see CONTRIBUTING.md).
# `make help` lists the targets. JOBS=N limits what runs at once; PREFIX=DIR and DESTDIR=DIR say where
# `make install` puts things; DEPS=no leaves the packages of the machine alone; MESON_OPTIONS=-D... is
# handed to meson when a build directory is made.

BUILD  ?= build
PREFIX ?= /usr/local
MODEL  ?= smollm2
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
DEPS   ?= yes
MESON_OPTIONS ?=

NINJA := ninja -j $(JOBS)
MTEST := meson test --num-processes $(JOBS) --print-errorlogs
need   = @[ "$(DEPS)" = no ] || sh scripts/install-dependencies $(1)
# Where the kernel gives out addresses that ThreadSanitizer cannot map, fix them.
FIXED_ADDRESSES := $(shell setarch -R true 2>/dev/null && echo --wrapper "'setarch -R'")

export ASAN_OPTIONS  ?= detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS ?= halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS  ?= halt_on_error=1:second_deadlock_stack=1:allocator_may_return_null=1

.DEFAULT_GOAL := all
.PHONY: all demo test asan ubsan tsan long-runs bench perfcheck fuzz format tidy cross-arm install clean help

all: ## the release program ./quern, and libquern (static and shared)
	$(call need,build)
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) --prefix $(PREFIX) $(MESON_OPTIONS)
	@$(NINJA) -C $(BUILD) programs
	@cp -f $(BUILD)/src/cli/quern ./quern

demo: ## fetch a small real model (once) and let it answer a question
	$(call need,demo)
	@$(MAKE) --no-print-directory all DEPS=no
	@./quern show smollm2 >/dev/null 2>&1 || ./quern pull smollm2
	./quern run smollm2 "Why is the sky blue?" </dev/null

test: ## every test, with the release build
	$(call need,test)
	@$(MAKE) --no-print-directory all DEPS=no
	@grep -q test_base $(BUILD)/build.ninja || meson setup --reconfigure $(BUILD)
	$(MTEST) -C $(BUILD)

# $(1) the directory, $(2) what meson calls the sanitizers, $(3) further options for the test run
sanitized_build = @[ -f $(1)/build.ninja ] || meson setup $(1) -Dbuildtype=debugoptimized -Db_lundef=false -Db_sanitize=$(2) $(MESON_OPTIONS)
define sanitized
	$(call need,test)
	$(call sanitized_build,$(1),$(2))
	$(MTEST) -C $(1) --timeout-multiplier 4 $(3)
endef

asan: ## the tests under AddressSanitizer (leaks included) and UBSan together
	$(call sanitized,build-asan,address$(,)undefined,)

ubsan: ## the tests under UndefinedBehaviorSanitizer
	$(call sanitized,build-ubsan,undefined,)

tsan: ## the tests under ThreadSanitizer (not those of kernels and formats: one thread, very slow)
	$(call sanitized,build-tsan,thread,$(FIXED_ADDRESSES) --no-suite kernel --no-suite quant)

# Kernels without sanitizers, which would take most of the time there; `make asan` and `make tsan` have them.
LONG_RUNS := engine_crowd engine_many_models engine_session cache_page_store
define long_run_build
	$(call sanitized_build,$(1),$(2) -Dinstrument_kernels=false)
	@$(NINJA) -C $(1) $(LONG_RUNS:%=tests/test_%)
endef

long-runs: ## 10,000 answers and requests, 1,000 kills: released, under ASan with UBSan, under TSan
	$(call need,test)
	@$(MAKE) --no-print-directory all DEPS=no
	@grep -q test_base $(BUILD)/build.ninja || meson setup --reconfigure $(BUILD)
	@$(NINJA) -C $(BUILD) $(LONG_RUNS:%=tests/test_%)
	$(call long_run_build,build-long-asan,address$(,)undefined)
	$(call long_run_build,build-long-tsan,thread)
	sh scripts/long-runs $(BUILD) build-long-asan build-long-tsan

fuzz: ## each fuzzer for FUZZ_SECONDS (60), or for FUZZ_RUNS executions; ONLY=NAME for one
	$(call need,fuzz)
	@[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Dbuildtype=debugoptimized \
	    -Db_lundef=false -Db_sanitize=address,undefined $(MESON_OPTIONS)
	@$(NINJA) -C build-fuzz fuzzers
	@fuzz/run build-fuzz $(ONLY)

bench: all ## speed of prompt and generation on MODEL (smollm2)
	./quern bench $(MODEL)

perfcheck: ## instructions of kernels and a small model, beside the committed counts
	$(call need,perfcheck)
	@$(MAKE) --no-print-directory all DEPS=no
	@$(NINJA) -C $(BUILD) tests/kernel/perf_cases
	python3 bench/perfcheck.py $(BUILD) $(PERFCHECK)

cross-arm: ## build for aarch64 and run the tests under qemu
	$(call need,cross-arm)
	@sh scripts/cross-arm build-arm $(MESON_OPTIONS)
	$(MTEST) -C build-arm --timeout-multiplier 10

format: ## bring the sources into the form of .clang-format
	$(call need,format)
	git ls-files '*.c' '*.h' | xargs clang-format -i

tidy: ## clang-tidy over the sources
	$(call need,tidy)
	@[ -f build-clang/build.ninja ] || CC=clang meson setup build-clang -Dwerror=true
	git ls-files 'src/*.c' | xargs -P $(JOBS) -n 4 clang-tidy --quiet -p build-clang

install: all ## to PREFIX (/usr/local), below DESTDIR where given
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@$(NINJA) -C $(BUILD) programs
	meson install -C $(BUILD) --no-rebuild

clean: ## remove everything that was built
	rm -rf build build-asan build-ubsan build-tsan build-long-asan build-long-tsan build-fuzz build-clang build-arm build-ci build-ci-clang quern

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

, := ,
