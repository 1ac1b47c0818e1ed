// SPDX-License-Identifier: MIT
/* bench.h - speed, measured beside the fma peak of the same moment: matrix products, training, sampling, texts, start-up.
 *
 *     Bench bench = {.cx = &cx, .seconds = 0.5, .seed = 1};
 *     TrainPoint point;
 *     if (bench_train(&point, &bench, bench_model("5.8M"), 16, 256, 2048, &err)) return -1;
 *     printf("%.0f tokens/s, %.0f %% of peak\n", point.tokens_per_s, 100 * point.peak_fraction);
 *
 * A machine shared with others changes its speed from one millisecond to the next. So what is compared is measured in short
 * slices in turn, the peak before each of them, and medians are reported: of the speeds, and of the ratios of neighbours.
 */
#ifndef RAFT_STUDY_BENCH_H
#define RAFT_STUDY_BENCH_H

#include "model.h"
#include "tokenizer.h"

typedef struct {
    const Compute *cx;
    double seconds; // for each point
    uint64_t seed;
    const char *program; // raft's executable, for BLIS's workers and start-up times; NULL: without them
} Bench;

double bench_peak(const Bench *bench); // fused multiply-adds, as operations a second, of all threads: the median of a few slices

// ---- matrix products -------------------------------------------------------------------------------------------------------

typedef struct {
    size_t m, n, k;
    bool gradient;          // C += A^T B with k rows of each, a weight's gradient; else C = A B^T, a layer's forward pass
    double gflops, peak_fraction;
    double packed_gflops, packed_fraction; // B packed beforehand, as weights are while sampling; 0: a gradient
    double blis_gflops, ratio; // the fastest configuration of BLIS, and ours to it, slice by slice; 0: built without
    char blis_config[24];
} MatmulPoint;

// The register tile alone, its operands in the first cache: what a product would reach if blocking, packing and threads cost nothing.
typedef struct { double gflops, peak_fraction; } TilePoint;
int bench_tile(TilePoint *point, const Bench *bench, Err *err);
size_t bench_matmul_shapes(MatmulPoint *points, size_t room); // the shapes that training and sampling meet; returns their number
int bench_matmul(MatmulPoint *points, size_t count, const Bench *bench, Err *err);
int bench_blis_worker(const Bench *bench, Err *err); // the other end: reads products from standard input, answers with speeds

// ---- models ----------------------------------------------------------------------------------------------------------------

typedef struct { const char *name; ModelConfig config; } BenchModel;
const BenchModel *bench_model(const char *name); // "1M", "5.8M", "25M", "135M"

typedef struct { double tokens_per_s, peak_fraction, peak_rss_mb; } TrainPoint;
int bench_train(TrainPoint *point, const Bench *bench, const BenchModel *model, size_t batch, size_t tokens, size_t micro_rows, Err *err);

typedef struct { size_t prompts, prompt_tokens, samples, max_new; } SampleShape;
typedef struct { double tokens_per_s, peak_fraction; } SamplePoint;
int bench_sample(SamplePoint *point, const Bench *bench, const BenchModel *model, SampleShape shape, Err *err);

// ---- texts and start-up ------------------------------------------------------------------------------------------------------

typedef struct { double megabytes, train_s, encode_mb_per_s; } TokenizerPoint;
int bench_tokenizer(TokenizerPoint *point, const Bench *bench, const TextView *texts, size_t count, size_t vocab, Err *err);

// From starting this program to the first token that a checkpoint of this size answers; it is written to `folder`, and removed.
typedef struct { double first_token_s, help_s; } LoadPoint;
int bench_load(LoadPoint *point, const Bench *bench, const BenchModel *model, const char *folder, Err *err);

#endif
