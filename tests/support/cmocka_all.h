/* cmocka_all.h: cmocka wants these headers before its own. */
#ifndef QN_TESTS_CMOCKA_ALL_H
#define QN_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
