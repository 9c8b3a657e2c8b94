/* A quantity over time (watts, degrees, megahertz) in pieces with closed integrals. Seconds and doubles throughout. */

#ifndef STANDIN_COURSE_H
#define STANDIN_COURSE_H

#include <stddef.h>

typedef enum { CONSTANT, RAMP, DECAY, SQUARE } Shape;

/* One piece: it begins at `begin_s` and lasts until the next one begins; the last one lasts for ever.
 *   CONSTANT  p[0] level
 *   RAMP      p[0] start, p[1] end, p[2] seconds it takes; the end holds afterwards
 *   DECAY     p[0] start, p[1] end it approaches, p[2] time constant in seconds
 *   SQUARE    p[0] low, p[1] high, p[2] period in seconds, p[3] duty (share of the period that is high), p[4] phase
 *             (share of a period that had passed when the piece began); high comes first
 */
typedef struct {
    double begin_s;
    Shape shape;
    double p[5];
    double integral; /* from 0 to begin_s */
} Piece;

typedef struct {
    Piece *pieces;
    size_t count;
} Course;

/* Appends the piece that `text` describes, "<begin_s> <shape> <numbers>"; false where the text is none. */
int course_append(Course *course, const char *text);

/* The value at a time; before 0 it is the value at 0. */
double course_value(const Course *course, double t_s);

/* The exact integral of the value from 0 to a time; negative before 0. */
double course_integral(const Course *course, double t_s);

/* The mean over the `over_s` seconds that end at a time; 0 seconds give the value itself. */
double course_mean(const Course *course, double t_s, double over_s);

#endif
