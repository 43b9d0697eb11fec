/* image_test.c: the move of a mapped file into huge pages under the eyes of readers. */
#include "base_test.h"

#include "base/image.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = (11 << 20) / 8 + 100 };
static uint64_t word_at(size_t i)
{
    return (i + 1) * 0x9E3779B97F4A7C15u;
}

typedef struct watch {
    const qn_image *image;
    atomic_bool stop;
    atomic_size_t n_wrong, n_rounds;
} watch;

static void *reader(void *user)
{
    watch *w = user;
    const volatile uint64_t *words = (const volatile uint64_t *)(const void *)w->image->data;
    do {
        for (size_t i = 0; i < WORDS; i += 61)
            if (words[i] != word_at(i)) atomic_fetch_add(&w->n_wrong, 1);
        atomic_fetch_add(&w->n_rounds, 1);
    } while (!atomic_load(&w->stop));
    return NULL;
}

static void a_file_moves_into_huge_pages_while_it_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/quern_image_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    uint64_t *words = malloc((size_t)WORDS * 8);
    assert_non_null(words);
    for (size_t i = 0; i < WORDS; i++) words[i] = word_at(i);
    assert_int_equal(pwrite(fd, words, (size_t)WORDS * 8, QN_HUGE_PAGE), WORDS * 8);
    free(words);

    qn_image image;
    pthread_t thread;
    assert_int_equal(qn_image_map(&image, fd, QN_HUGE_PAGE, (size_t)WORDS * 8, NULL), QUERN_OK);
    assert_int_equal((uintptr_t)image.data % QN_HUGE_PAGE, 0);
    watch w = {.image = &image};
    assert_int_equal(pthread_create(&thread, NULL, reader, &w), 0);
    bool moved = true;
    for (int round = 0; round < 5; round++) /* what was moved can be moved again */
        for (size_t at = 0; at < image.n_bytes; at += 2 * (size_t)QN_HUGE_PAGE) {
            const size_t left = image.n_bytes - at, piece = 2 * (size_t)QN_HUGE_PAGE;
            moved = qn_image_move(&image, fd, QN_HUGE_PAGE, at, left < piece ? left : piece) && moved;
        }
    while (atomic_load(&w.n_rounds) < 2) usleep(1000);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&w.n_wrong), 0);
#ifdef __linux__
    assert_true(moved);
    assert_int_equal(ftruncate(fd, 0), 0); /* the memory does not need the file any more */
    const uint64_t *moved_words = (const uint64_t *)(const void *)image.data;
    for (size_t i = 0; i < WORDS; i++) assert_true(moved_words[i] == word_at(i));
    assert_false(qn_image_move(&image, fd, QN_HUGE_PAGE, 0, QN_HUGE_PAGE)); /* nothing to read: stays */
    assert_true(moved_words[5] == word_at(5));
#endif
    qn_image_unmap(&image);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_moves_into_huge_pages_while_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
