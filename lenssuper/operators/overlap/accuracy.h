/* How much light of an element may be in a wrong cell of the source grid, and which edge is to be halved.
 *
 * An element is a triangle of the image plane (`plane`: column and row of its three corners) with its three
 * corners and the middles of its three edges mapped to the source plane (six numbers per coordinate: corners
 * 0, 1, 2, middles of 01, 12, 20). Five numbers per coordinate, `cubic`, say how the map goes beyond the
 * quadratic through these: its third derivatives ppp, ppq, pqq, qqq, and how far it is off beyond them.
 * Coordinates in the source plane are in cells of the source grid.
 */

#ifndef LENSSUPER_ACCURACY_H
#define LENSSUPER_ACCURACY_H

#include "../../_utils/kernels.h"

/* A cubic with third derivative f along an edge is off the quadratic through its ends and its middle by up to
 * f |s (s - 1/2) (s - 1)| / 6. */
#define CUBIC 0.00802
/* As in `lenssuper.operators.overlap.bsplines`: beyond these, an element is taken as straight. */
#define FOLDED 0.25
#define NARROW 1e-7

/* Rows and columns of the source grid, or of the pieces of a source of B-splines of an order. */
typedef struct {
    ptrdiff_t rows, columns;
    int order;
} Source;

/* One coordinate of an element: whether borders between cells cross it (-1: outside of the grid, 0: no border
 * crosses, 1: one does), the error per weight, and how far the three edges bend. */
typedef struct {
    int reach;
    double error;
    double bends[3];
} Axis;

static inline double lowest(double a, double b, double c) { return lower(lower(a, b), c); }
static inline double highest(double a, double b, double c) { return higher(higher(a, b), c); }

/* Third derivative of the map along a step (p, q) in the image plane. */
static inline double third_along(const double *cubic, double p, double q)
{
    double third = cubic[0] * p * p * p + 3.0 * cubic[1] * p * p * q;
    return third + (3.0 * cubic[2] * p * q * q + cubic[3] * q * q * q);
}

/* Write how far the map is off its quadratic along the three edges, by its third derivatives. */
static inline void beyond_quadratic(const double *plane, const double *cubic, double *off)
{
    for (int k = 0; k < 3; k++) {
        int m = (k + 1) % 3;
        double p = plane[2 * m] - plane[2 * k], q = plane[2 * m + 1] - plane[2 * k + 1];
        off[k] = CUBIC * fabs(third_along(cubic, p, q));
    }
}

/* Relate one coordinate of an element, which is `rest` off its quadratic, to the borders between n cells. */
static inline Axis on_axis(const double *v, double rest, ptrdiff_t n)
{
    Axis axis = {-1, 0.0, {fabs(v[3] - 0.5 * (v[0] + v[1])), fabs(v[4] - 0.5 * (v[1] + v[2])),
                           fabs(v[5] - 0.5 * (v[2] + v[0]))}};
    double most = highest(axis.bends[0], axis.bends[1], axis.bends[2]);
    double pad = 0.25 * most + rest;
    double low = lowest(v[0], v[1], v[2]), high = highest(v[0], v[1], v[2]);
    double width = high - low;
    low = lower(lowest(low, v[3], v[4]), v[5]) - pad;
    high = higher(highest(high, v[3], v[4]), v[5]) + pad;
    if (high <= 0.0 || low >= n)
        return axis;
    axis.reach = 0;
    low = higher(low, -0.5), high = lower(high, n + 0.5);
    if (floor(low) == floor(high))
        return axis;
    axis.reach = 1, axis.error = 1.0;
    if (width <= 0.0)
        return axis;
    double error = rest + most * most / width;
    for (int k = 0; k < 3; k++) {
        int m = (k + 1) % 3;
        double bend = axis.bends[k];
        low = higher(lowest(v[k], v[m], v[3 + k]) - pad, -0.5);
        high = lower(highest(v[k], v[m], v[3 + k]) + pad, n + 0.5);
        if (low < high && floor(low) != floor(high)) {
            /* part of the edge is nearer to the border than it bends: the chord misses it */
            double run = fabs(v[k] - v[m]);
            error += bend * (bend < run ? bend / run : 1.0);
        }
    }
    axis.error = lower(2.0 * error / width, 1.0);
    return axis;
}

/* Change the errors per weight along x and y to those in a source of B-splines of order 1 or 2.
 *
 * Splines have slopes of at most one, so that light displaced by d is wrong by at most d; by its square where
 * the first order is corrected for. */
static inline void smooth_errors(const double *x, const double *y, double rest_x, double rest_y, int order,
                                 Axis *along_x, Axis *along_y)
{
    double width = highest(x[0], x[1], x[2]) - lowest(x[0], x[1], x[2]);
    double height = highest(y[0], y[1], y[2]) - lowest(y[0], y[1], y[2]);
    double bend_x = highest(along_x->bends[0], along_x->bends[1], along_x->bends[2]);
    double bend_y = highest(along_y->bends[0], along_y->bends[1], along_y->bends[2]);
    double extent = higher(width, height), bend = higher(bend_x, bend_y);
    double twice = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]);
    double error_x = bend_x, error_y = bend_y;
    if (along_x->reach == 0 && along_y->reach == 0) {
        error_x = 0.1 * bend_x * bend, error_y = 0.1 * bend_y * bend;
    } else if (bend < FOLDED * extent && twice * twice > NARROW * bend * (extent * (extent * extent))) {
        if (order == 1) { /* slopes change at once, by two at most */
            error_x = bend_x * bend_y + (along_x->reach == 1 ? 2.0 * (bend_x * bend_x) / width : 0.0);
            error_y = along_y->reach == 1 ? 2.0 * (bend_y * bend_y) / height : 0.0;
            error_x = lower(error_x, bend_x), error_y = lower(error_y, bend_y);
        } else {
            double second = 0.5 * (bend_x + bend_y);
            error_x = bend_x * second, error_y = bend_y * second;
        }
    }
    along_x->error = lower(error_x + rest_x, 1.0), along_y->error = lower(error_y + rest_y, 1.0);
}

/* Return the edge whose halving reduces the errors along x and y most. */
static inline int64_t worst_edge(const double *plane, const Axis *along_x, const Axis *along_y,
                                 const double *off_x, const double *off_y)
{
    double most_x = highest(along_x->bends[0], along_x->bends[1], along_x->bends[2]);
    double most_y = highest(along_y->bends[0], along_y->bends[1], along_y->bends[2]);
    double best = -1.0;
    int64_t edge = 0;
    for (int k = 0; k < 3; k++) {
        int m = (k + 1) % 3;
        double p = plane[2 * k] - plane[2 * m], q = plane[2 * k + 1] - plane[2 * m + 1];
        /* an axis that no border crosses has no error */
        double score = along_x->error * (along_x->bends[k] + off_x[k]) / (most_x + 1e-300)
                       + along_y->error * (along_y->bends[k] + off_y[k]) / (most_y + 1e-300);
        score += 1e-9 * (p * p + q * q);
        if (score > best)
            best = score, edge = k;
    }
    return edge;
}

/* Return how much light of an element may be in a wrong cell; `edge`, if it is wanted, becomes the edge whose
 * halving reduces it. */
static inline double judge_element(const double *plane, const double *x, const double *y, double weight,
                                   const double *cubic_x, const double *cubic_y, Source source, int64_t *edge)
{
    double off_x[3], off_y[3];
    beyond_quadratic(plane, cubic_x, off_x), beyond_quadratic(plane, cubic_y, off_y);
    double rest_x = highest(off_x[0], off_x[1], off_x[2]) + cubic_x[4];
    double rest_y = highest(off_y[0], off_y[1], off_y[2]) + cubic_y[4];
    Axis along_x = on_axis(x, rest_x, source.columns), along_y = on_axis(y, rest_y, source.rows);
    if (edge)
        *edge = 0;
    if (along_x.reach < 0 || along_y.reach < 0)
        return 0.0;
    if (source.order > 0) { /* borders matter less than slopes, which are everywhere */
        smooth_errors(x, y, rest_x, rest_y, source.order, &along_x, &along_y);
    } else if (along_x.reach == 0 && along_y.reach == 0) {
        return 0.0;
    } else if (along_x.reach == 1 && along_y.reach == 1) {
        /* where two borders cross, light displaced along one of them gets past the other */
        double twice = fabs((x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]));
        double corner = highest(along_x.bends[0], along_x.bends[1], along_x.bends[2])
                        * highest(along_y.bends[0], along_y.bends[1], along_y.bends[2]);
        corner = corner < twice ? corner / twice : 1.0;
        along_x.error += corner, along_y.error += corner;
    }
    if (edge)
        *edge = worst_edge(plane, &along_x, &along_y, off_x, off_y);
    return weight * lower(along_x.error + along_y.error, 1.0);
}

#endif
