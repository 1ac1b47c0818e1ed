// SPDX-License-Identifier: MIT
/* scaling.h - how speed grows with the work: curves over model size, context, batch, sequences and threads, and the roofline; as one SVG.
 *
 *     ScaleCurve curves[SCALE_CURVES];
 *     if (scaling_measure(curves, &bench, quiet, &err)) return -1;                    // some minutes
 *     if (scaling_svg(&text, curves, "AMD EPYC, avx2, 2 threads", &err)) return -1;   // a drawing that needs nothing beside it
 *
 * Every point is a share of the fma peak measured beside it (study/bench.h). The roofline (Williams, Waterman and Patterson 2009) is
 * the product of `rows` rows with packed weights [768,256] beside what peak and memory allow at its operations a byte.
 */
#ifndef RAFT_STUDY_SCALING_H
#define RAFT_STUDY_SCALING_H

#include "study/bench.h"

typedef enum { SCALE_MODEL, SCALE_CONTEXT, SCALE_BATCH, SCALE_SEQUENCES, SCALE_TRAINING_THREADS, SCALE_SAMPLING_THREADS, SCALE_ROOFLINE, SCALE_CURVES } ScaleKind;
enum { SCALE_POINTS = 16 };

typedef struct {
    double x;            // millions of parameters, tokens of context, sequences a step or at once, threads, operations a byte
    double tokens_per_s; // of the roofline: rows of the product
    double peak_fraction, bound; // bound: of the roofline, what memory and peak allow
} ScalePoint;
typedef struct { ScalePoint points[SCALE_POINTS]; size_t count; } ScaleCurve;

const char *scaling_name(ScaleKind kind); // "model", "context", "batch", "sequences", "training_threads", "sampling_threads", "roofline"
int scaling_measure(ScaleCurve curves[SCALE_CURVES], const Bench *bench, bool quiet, Err *err);
// Only those over threads: 1, 2, 4, ... and all.
int scaling_by_threads(ScaleCurve curves[SCALE_CURVES], const Bench *bench, bool quiet, Err *err);
int scaling_svg(Text *out, const ScaleCurve curves[SCALE_CURVES], const char *machine, Err *err);

#endif
