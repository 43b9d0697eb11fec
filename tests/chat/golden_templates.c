/* golden_templates.c: see golden_templates.h. NAME.jinja is a template, NAME.cases.jsonl its cases. */
#include "golden_templates.h"

#include "chat_test.h"
#include "support/golden.h"

#include <dirent.h>

enum { MAX_NAME = 250 };

/* The name without the ending of a template; false if it has another. */
static bool name_of(char name[MAX_NAME + 1], const char *file_name)
{
    static const char ending[] = ".jinja";
    const size_t n_ending = sizeof ending - 1, n = strlen(file_name);
    if (n <= n_ending || n > MAX_NAME || strcmp(file_name + n - n_ending, ending) != 0) return false;
    memcpy(name, file_name, n - n_ending);
    name[n - n_ending] = '\0';
    return true;
}

static char *read_beside(const char *directory, const char *name, const char *ending, size_t *n_bytes)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s%s", directory, name, ending);
    return golden_read(path, n_bytes);
}

int each_golden_template(void (*run)(const golden_template *t, void *user), void *user)
{
    char directory[1024], name[MAX_NAME + 1];
    if (!golden_path(directory, "chat")) {
        skip();
        return 0;
    }
    DIR *d = opendir(directory);
    assert_non_null(d);
    const long live = qn_alloc_live();
    int n_templates = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (!name_of(name, e->d_name)) continue;
        size_t n_source, n_cases;
        char *source = read_beside(directory, name, ".jinja", &n_source);
        char *cases = read_beside(directory, name, ".cases.jsonl", &n_cases);
        run(&(golden_template){name, source, n_source, cases}, user);
        free(source);
        free(cases);
        n_templates++;
    }
    closedir(d);
    assert_int_equal(qn_alloc_live(), live);
    return n_templates;
}
