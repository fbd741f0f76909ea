/* The edges of a lattice of corners, one after the other. */

#ifndef LENSSUPER_EDGES_H
#define LENSSUPER_EDGES_H

#include "../../_utils/arguments.h"

/* Writes three integrals over a source along the edge from (xa, ya) to (xb, yb). */
typedef void (*Along)(const void *source, double xa, double ya, double xb, double yb, double *out);

/* Write the integrals along all edges of a lattice. Its arguments follow each other: corners u, v
 * (m + 1, n + 1), and what is written: across (m + 1, n, 3), up (m, n + 1, 3) and diagonal (m, n, 3). */
INLINED void write_along_edges(Along along, const void *source, const Argument *lattice)
{
    const double *u = lattice[0].data, *v = lattice[1].data;
    double *across = lattice[2].data, *up = lattice[3].data, *diagonal = lattice[4].data;
    ptrdiff_t m = lattice[4].shape[0], n = lattice[4].shape[1];
    for (ptrdiff_t i = 0; i <= m; i++) {
        for (ptrdiff_t j = 0; j <= n; j++) {
            ptrdiff_t here = i * (n + 1) + j, above = here + n + 1;
            if (j < n)
                along(source, u[here], v[here], u[here + 1], v[here + 1], across + 3 * (i * n + j));
            if (i < m)
                along(source, u[here], v[here], u[above], v[above], up + 3 * here);
            if (i < m && j < n)
                along(source, u[here], v[here], u[above + 1], v[above + 1], diagonal + 3 * (i * n + j));
        }
    }
}

#endif
