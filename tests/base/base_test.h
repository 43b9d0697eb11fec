/* base_test.h: what every test program of this room includes. */
#ifndef TESTS_BASE_TEST_H
#define TESTS_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
