/* table_vector.h: the vector and attention half of a kernel table, in the manner of table_matrix.h. */
#ifndef QN_KERNEL_TABLE_VECTOR_H
#define QN_KERNEL_TABLE_VECTOR_H

#include "kernel/attention.h"
#include "kernel/vector.h"

#define QN_VECTOR_ENTRIES(isa)

#endif
