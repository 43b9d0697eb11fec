/* table_matrix.h: the matrix half of a kernel table. QN_MATRIX_ENTRIES(isa) names the function of every
 * type for one instruction set; a table file expands it. Types that are decoded while multiplying share
 * one function. */
#ifndef QN_KERNEL_TABLE_MATRIX_H
#define QN_KERNEL_TABLE_MATRIX_H

#include "kernel/matrix.h"

#define QN_MATRIX_ENTRIES(isa)

#endif
