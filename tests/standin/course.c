/* Closed integrals of the four shapes, and of their sequence. */

#include "course.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int numbers;
} SHAPES[] = {{"constant", 1}, {"ramp", 3}, {"decay", 3}, {"square", 5}};

/* Periods that were high before `periods` periods had passed, each counted by its share. */
static double high_share(double periods, double duty) {
    double whole = floor(periods);
    return whole * duty + fmin(periods - whole, duty);
}

static double piece_value(const Piece *piece, double u_s) {
    const double *p = piece->p;
    switch (piece->shape) {
    case CONSTANT:
        return p[0];
    case RAMP:
        return u_s >= p[2] ? p[1] : p[0] + (p[1] - p[0]) * u_s / p[2];
    case DECAY:
        return p[1] + (p[0] - p[1]) * exp(-u_s / p[2]);
    case SQUARE: {
        double periods = u_s / p[2] + p[4];
        return periods - floor(periods) < p[3] ? p[1] : p[0];
    }
    }
    return NAN;
}

static double piece_integral(const Piece *piece, double u_s) {
    const double *p = piece->p;
    switch (piece->shape) {
    case CONSTANT:
        return p[0] * u_s;
    case RAMP: {
        double rising_s = fmin(u_s, p[2]);
        double ramp = p[2] > 0 ? p[0] * rising_s + (p[1] - p[0]) * rising_s * rising_s / (2 * p[2]) : 0;
        return ramp + p[1] * (u_s - rising_s);
    }
    case DECAY: /* expm1 keeps the digits of times that are short against the time constant */
        return p[1] * u_s - (p[0] - p[1]) * p[2] * expm1(-u_s / p[2]);
    case SQUARE: {
        double high_s = p[2] * (high_share(u_s / p[2] + p[4], p[3]) - high_share(p[4], p[3]));
        return p[0] * u_s + (p[1] - p[0]) * high_s;
    }
    }
    return NAN;
}

/* The piece that covers a time >= 0. */
static const Piece *piece_at(const Course *course, double t_s) {
    size_t low = 0, high = course->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (course->pieces[middle].begin_s <= t_s)
            low = middle;
        else
            high = middle;
    }
    return &course->pieces[low];
}

double course_value(const Course *course, double t_s) {
    if (t_s < 0)
        t_s = 0;
    const Piece *piece = piece_at(course, t_s);
    return piece_value(piece, t_s - piece->begin_s);
}

double course_integral(const Course *course, double t_s) {
    if (t_s < 0)
        return t_s * course_value(course, 0);
    const Piece *piece = piece_at(course, t_s);
    return piece->integral + piece_integral(piece, t_s - piece->begin_s);
}

double course_mean(const Course *course, double t_s, double over_s) {
    if (over_s <= 0)
        return course_value(course, t_s);
    return (course_integral(course, t_s) - course_integral(course, t_s - over_s)) / over_s;
}

static int parsed(Piece *piece, const char *text) {
    char name[16];
    int used = 0;
    if (sscanf(text, "%lf %15s%n", &piece->begin_s, name, &used) != 2)
        return 0;
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        if (strcmp(name, SHAPES[i].name) != 0)
            continue;
        const char *rest = text + used;
        for (int k = 0; k < SHAPES[i].numbers; k++) {
            char *end;
            piece->p[k] = strtod(rest, &end);
            if (end == rest)
                return 0;
            rest = end;
        }
        piece->shape = (Shape)i;
        return 1;
    }
    return 0;
}

int course_append(Course *course, const char *text) {
    Piece piece = {0};
    if (!parsed(&piece, text))
        return 0;
    if (course->count == 0) {
        if (piece.begin_s != 0)
            return 0;
    } else {
        if (piece.begin_s <= course->pieces[course->count - 1].begin_s)
            return 0;
        piece.integral = course_integral(course, piece.begin_s);
    }
    Piece *pieces = realloc(course->pieces, (course->count + 1) * sizeof piece);
    if (pieces == NULL)
        return 0;
    pieces[course->count] = piece;
    course->pieces = pieces;
    course->count++;
    return 1;
}
