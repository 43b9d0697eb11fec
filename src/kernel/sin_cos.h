/* sin_cos.h: sine and cosine in double precision, made of additions and multiplications alone, so that every
 * system's C library gives the same bits (contract C4), and without branches, so that compilers can do
 * several at once.
 *
 * x = n pi/2 + r with |r| <= pi/4: pi/2 is taken off in three parts, the first two short enough for exact
 * products (Cody and Waite, Software Manual for the Elementary Functions, 1980). Taylor's series to r^15 and
 * r^16 leave less than 5e-17. For |x| <= 2^27 both are within 4e-16 of the true value. */
#ifndef QN_KERNEL_SIN_COS_H
#define QN_KERNEL_SIN_COS_H

#include <stdint.h>
#include <string.h>

static inline void qn_sin_cos(double x, double *sine, double *cosine)
{
    const double round = 0x1.8p+52; /* adding it rounds to an integer, which then stands in the low bits */
    const double shifted = x * 0x1.45f306dc9c883p-1 + round, n = shifted - round;
    const double r = ((x - n * 0x1.921fb5p+0) - n * 0x1.110b46p-26) - n * 0x1.1a62633145c07p-54, z = r * r;
    const double s =
        r + r * z *
                (-1.0 / 6 +
                 z * (1.0 / 120 +
                      z * (-1.0 / 5040 +
                           z * (1.0 / 362880 + z * (-1.0 / 39916800 + z * (1.0 / 6227020800.0 +
                                                                           z * (-1.0 / 1307674368000.0)))))));
    const double c =
        (1 - 0.5 * z) +
        z * z *
            (1.0 / 24 +
             z * (-1.0 / 720 +
                  z * (1.0 / 40320 +
                       z * (-1.0 / 3628800 + z * (1.0 / 479001600 + z * (-1.0 / 87178291200.0 +
                                                                         z * (1.0 / 20922789888000.0)))))));
    uint64_t quarter;
    memcpy(&quarter, &shifted, sizeof quarter);
    const double a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
    *sine = quarter & 2 ? -a : a;
    *cosine = (quarter + 1) & 2 ? -b : b;
}

#endif
