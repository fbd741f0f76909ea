/* Integrals of a Sersic profile over the pixels around its centre, where it has a cusp. */

#ifndef LENSSUPER_CENTRE_H
#define LENSSUPER_CENTRE_H

#include "pixels.h"

/* Gauss-Legendre on [0, 1], of 24 points along a ray, and of 16 across the rays. */
#define POINTS_ALONG 24
#define POINTS_ACROSS 16
static const double ALONG[POINTS_ALONG] = {
    0.0024063900014893447, 0.012635722014345263, 0.0308627239986336, 0.056792236497799464,
    0.08999900701304853, 0.12993790421072282, 0.17595317403151223, 0.22728926430558022,
    0.28310324618697746, 0.3424786601519183, 0.40444056626319186, 0.4679715535686972,
    0.5320284464313028, 0.5955594337368082, 0.6575213398480817, 0.7168967538130225,
    0.7727107356944198, 0.8240468259684878, 0.8700620957892772, 0.9100009929869515,
    0.9432077635022005, 0.9691372760013663, 0.9873642779856547, 0.9975936099985107,
};
static const double ALONG_WEIGHTS[POINTS_ALONG] = {
    0.006170614899994345, 0.01426569431446678, 0.022138719408709706, 0.02964929245771818,
    0.03667324070554008, 0.0430950807659766, 0.04880932605205696, 0.05372213505798278,
    0.05775283402686276, 0.06083523646390165, 0.06291872817341412, 0.06396909767337601,
    0.06396909767337601, 0.06291872817341412, 0.06083523646390165, 0.05775283402686276,
    0.05372213505798278, 0.04880932605205696, 0.0430950807659766, 0.03667324070554008,
    0.02964929245771818, 0.022138719408709706, 0.01426569431446678, 0.006170614899994345,
};
static const double ACROSS[POINTS_ACROSS] = {
    0.005299532504175031, 0.0277124884633837, 0.06718439880608412, 0.1222977958224985,
    0.19106187779867811, 0.2709916111713863, 0.35919822461037054, 0.4524937450811813,
    0.5475062549188188, 0.6408017753896295, 0.7290083888286136, 0.8089381222013219,
    0.8777022041775016, 0.9328156011939159, 0.9722875115366163, 0.994700467495825,
};
static const double ACROSS_WEIGHTS[POINTS_ACROSS] = {
    0.013576229705877088, 0.031126761969323728, 0.0475792558412463, 0.062314485627767036,
    0.07479799440828835, 0.08457825969750132, 0.09130170752246182, 0.09472530522753432,
    0.09472530522753432, 0.09130170752246182, 0.08457825969750132, 0.07479799440828835,
    0.062314485627767036, 0.0475792558412463, 0.031126761969323728, 0.013576229705877088,
};

#define ZERO 45.0 /* exponent beyond which exp(-B t^(1/n)) is taken as zero */

/* What the integral along every ray needs, tau the nodes: tau^k, and the weights of its four integrals. */
typedef struct {
    double k, p; /* exponents of `add_triangle` */
    double powers[POINTS_ALONG];
    double light[POINTS_ALONG], by_center[POINTS_ALONG], by_form[POINTS_ALONG], by_n[POINTS_ALONG];
} Rays;

static Rays rays_of(double n)
{
    Rays rays = {.k = ceil(3.0 / n)};
    double p = rays.p = n * rays.k;
    for (int q = 0; q < POINTS_ALONG; q++) {
        double log_tau = log(ALONG[q]);
        rays.powers[q] = exp(rays.k * log_tau);
        rays.light[q] = ALONG_WEIGHTS[q] * exp((2.0 * p - 1.0) * log_tau);
        rays.by_center[q] = ALONG_WEIGHTS[q] * exp((p - 1.0) * log_tau) * rays.powers[q];
        rays.by_form[q] = rays.light[q] * rays.powers[q];
        rays.by_n[q] = rays.by_form[q] * log_tau;
    }
    return rays;
}

/* Add the integrals along the ray to an offset, of quadratic form g, times a weight. */
static void add_ray(double dx, double dy, double weight, const Form *form, const Rays *rays, double *out,
                    int derivatives)
{
    double n = form->n, b = form->b, db = form->db, k = rays->k, p = rays->p;
    double g = quadratic(form, dx, dy);
    double log_g = log(g);
    double power = exp(log_g / (2.0 * n));
    double end = lower(1.0, exp(log(ZERO / (b * power)) / k));
    double steep = b * power * exp(k * log(end));
    double j0 = 0.0, j1 = 0.0, k1 = 0.0, l1 = 0.0;
    for (int q = 0; q < POINTS_ALONG; q++) {
        double light = exp(b - steep * rays->powers[q]);
        j0 += light * rays->light[q];
        k1 += light * rays->by_center[q];
        j1 += light * rays->by_form[q];
        l1 += light * rays->by_n[q];
    }
    double end_p = exp(p * log(end));
    j0 *= p * end_p * end_p;
    power *= exp(k * log(end));
    k1 *= p * end_p * power;
    j1 *= p * end_p * end_p * power;
    l1 *= p * end_p * end_p * power;
    out[0] += weight * j0;
    if (!derivatives)
        return;
    double slope = -b / (2.0 * n) * weight / g;
    out[1] -= 2.0 * slope * k1 * (form->a11 * dx + form->a12 * dy);
    out[2] -= 2.0 * slope * k1 * (form->a12 * dx + form->a22 * dy);
    out[3] += slope * j1 * dx * dx;
    out[4] += slope * j1 * 2.0 * dx * dy;
    out[5] += slope * j1 * dy * dy;
    double log_u = (log_g + 2.0 * p * log(end)) * j1 + 2.0 * p * l1;
    out[6] += weight * (db * j0 - db * j1 + b / (2.0 * n * n) * log_u);
}

/* Add the integral over a triangle with one corner in the centre, the others at 1 and 2, signed by `area`.
 *
 * The points are t (r1 + s (r2 - r1)), t and s from 0 to 1, and the profile depends on t^(1/n) g(s)^(1/2n)
 * (Duffy 1982, SIAM J. Numer. Anal. 19, 1260). With t = tau^p, p = n k a multiple of n not below 3, the cusp
 * is gone, and `rays` has the factors that depend on tau alone; with s = s0 + w sinh(z), g = c w^2 cosh(z)^2,
 * long triangles are as accurate as short ones. */
static void add_triangle(double x1, double y1, double x2, double y2, double area, const Form *form,
                         const Rays *rays, double *out, int derivatives)
{
    double a11 = form->a11, a12 = form->a12, a22 = form->a22;
    double ex = x2 - x1, ey = y2 - y1;
    double c = quadratic(form, ex, ey);
    double h = a11 * x1 * ex + a12 * (x1 * ey + y1 * ex) + a22 * y1 * ey;
    double s0 = -h / c;
    double w = sqrt(a11 * a22 - a12 * a12) * fabs(area) / c;
    if (!(w > 0.0))
        return;
    /* a range with g's minimum inside is divided there */
    double ends[3] = {asinh(-s0 / w), 0.0, asinh((1.0 - s0) / w)};
    int divided = ends[0] < 0.0 && 0.0 < ends[2];
    if (!divided)
        ends[1] = ends[2];
    for (int part = 0; part < (divided ? 2 : 1); part++) {
        double first = ends[part], last = ends[part + 1];
        for (int i = 0; i < POINTS_ACROSS; i++) {
            double z = first + (last - first) * ACROSS[i];
            double s = s0 + w * sinh(z);
            double weight = area * (last - first) * ACROSS_WEIGHTS[i] * w * cosh(z);
            add_ray(x1 + s * ex, y1 + s * ey, weight, form, rays, out, derivatives);
        }
    }
}

/* Fill `means` with the integrals over the 3 x 3 pixels around the centre; the first is at left, bottom.
 *
 * A rectangle is the sum of four with one corner in the centre, signed: one for each corner of the pixel. */
static void near_pixels(double cx, double cy, double left, double bottom, const Form *form,
                        double (*means)[3][INTEGRALS], int derivatives)
{
    double corner[4][4][INTEGRALS] = {{{0.0}}};
    Rays rays = rays_of(form->n);
    for (int j = 0; j < 4; j++) {
        double y = bottom - 0.5 + j - cy;
        for (int i = 0; i < 4; i++) {
            double x = left - 0.5 + i - cx;
            if (x != 0.0 && y != 0.0) {
                add_triangle(x, 0.0, x, y, x * y, form, &rays, corner[j][i], derivatives);
                add_triangle(0.0, y, x, y, x * y, form, &rays, corner[j][i], derivatives);
            }
        }
    }
    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < INTEGRALS; k++) {
                double beside = corner[j + 1][i][k] + corner[j][i + 1][k];
                means[j][i][k] = corner[j + 1][i + 1][k] + corner[j][i][k] - beside;
            }
        }
    }
}

#endif
