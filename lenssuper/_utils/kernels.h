/* What all compiled kernels share: words that compilers spell differently, and comparisons as NumPy's. */

#ifndef LENSSUPER_KERNELS_H
#define LENSSUPER_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* No two pointers with this word lead to the same numbers, so that loops over them can be vectorised. */
#if defined(_MSC_VER) && !defined(__clang__)
#define ALONE __restrict
#else
#define ALONE __restrict__
#endif

/* A loop that gains from wider vectors than every processor has is compiled for those as well, and the
 * fastest version that the processor can run is chosen when the module is loaded: by what it can do, since by
 * name (arch=haswell) it would be chosen on that very model only. Results are the same: no version may join a
 * product and a sum (-ffp-contract=off). */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_WIDER_VECTORS __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FOR_WIDER_VECTORS
#endif

/* A part of a loop that is vectorised: it must not stay a call. */
#if defined(_MSC_VER) && !defined(__clang__)
#define INLINED static __forceinline
#else
#define INLINED static inline __attribute__((always_inline))
#endif

/* Before a loop: no pass reads or writes what another one writes, so that several can be done at once. */
#if defined(__clang__)
#define IN_ANY_ORDER _Pragma("clang loop vectorize(assume_safety)")
#elif defined(_MSC_VER)
#define IN_ANY_ORDER __pragma(loop(ivdep))
#elif defined(__GNUC__)
#define IN_ANY_ORDER _Pragma("GCC ivdep")
#else
#define IN_ANY_ORDER
#endif

static inline double lower(double a, double b) { return b < a ? b : a; }
static inline double higher(double a, double b) { return b > a ? b : a; }
static inline double within(double value, double low, double high) { return lower(higher(value, low), high); }
static inline ptrdiff_t fewer(ptrdiff_t a, ptrdiff_t b) { return b < a ? b : a; }
static inline ptrdiff_t more(ptrdiff_t a, ptrdiff_t b) { return b > a ? b : a; }

#endif
