// SPDX-License-Identifier: MIT
/* make_vectors.c - writes tests/vectors/NAME.jsonl: here are the inputs; the outputs come from the operations of vectors.h on plain C, the
 * instruction set that needs nothing of the machine but IEEE 754. Run from the top by `make vectors`.
 *
 * Sizes are awkward on purpose: no multiple of 16, one element, one more than a block.
 */
#include "tests/vectors.h"

#include "files/jsonl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Compute cx;
static Text file; // the one being made

static void add(const char *operation, const char *spec, json_t *in)
{
    VectorCase c = {.cx = &cx, .in = in};
    assert(in);
    vector_run(&c, operation);
    json_t *line = json_pack("{s:s,s:s,s:O,s:O}", "operation", operation, "spec", spec, "in", in, "out", c.out);
    int bad = json_write(&file, line, NULL) || text_puts(&file, NULL, "\n");
    assert(!bad);
    (void)bad;
    json_decref(line);
    vector_free(&c);
    json_decref(in);
}

static void write(const char *name)
{
    char path[80];
    Err err = {0};
    snprintf(path, sizeof path, "tests/vectors/%s.jsonl", name);
    if (os_write_file(path, file.data, file.length, &err)) {
        fprintf(stderr, "make_vectors: %s\n", err.text);
        exit(err.status);
    }
    printf("%-40s %7zu bytes\n", path, file.length);
    text_free(&file);
}

// ---- spelling inputs -------------------------------------------------------------------------------------------------------------

static json_t *drawn(unsigned seed, size_t n, int shift) { return json_sprintf("philox:%u:%zu:%d", seed, n, shift); }

static json_t *doubles(const double *x, size_t n)
{
    VectorCase c = {.out = json_object()};
    vector_put_doubles(&c, "x", x, n);
    json_t *value = json_incref(json_object_get(c.out, "x"));
    vector_free(&c);
    return value;
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
    if (!value) fprintf(stderr, "make_vectors: %s in %s\n", error.text, text);
    assert(value);
    return value;
}

#define FLOATS(...) vector_hex((const float[]){__VA_ARGS__}, sizeof(const float[]){__VA_ARGS__} / sizeof(float))
#define DOUBLES(...) doubles((const double[]){__VA_ARGS__}, sizeof(const double[]){__VA_ARGS__} / sizeof(double))

// ---- numbers ---------------------------------------------------------------------------------------------------------------------

// Each a rounding that some way of computing it gets wrong.
static void make_fma(void)
{
    static const float triples[][3] = {
        {0x1.000002p-12f, 0x1p-12f, 1}, {0x1.001p0f, 0x1.001p0f, 0x1p-60f}, {0x1.001p0f, 0x1.001p0f, -0x1p-60f}, {0x1.000002p0f, 1.5f, 0x1p-60f},
        {0x1.000002p0f, 1.5f, -0x1p-60f}, {0x1p-12f, 0x1p-12f, 1}, {0x1.000002p-12f, 0x1.fffffcp-13f, 1}, {0x1.000002p0f, 0x1.000002p0f, -0x1.000004p0f},
        {0x1.fffffep127f, 2, -0x1.fffffep127f}, {0x1p-75f, 0x1p-75f, 0}, {0x1.8p-75f, 0x1p-75f, 0}, {-0x1p-75f, 0x1p-75f, 0}, {0x1p-100f, -0x1p-100f, 0},
        {0x1p-75f, 0x1.000002p-75f, 0x1p-149f}, {0x1p-126f, 0.5f, -0x1p-149f}, {0x1.fffffep127f, 0x1.000002p0f, 0}, {0, 0, -0.0f}, {-0.0f, 0, -0.0f},
        {0, INFINITY, 1}, {INFINITY, 1, -INFINITY}, {NAN, 0, 0}, {1, 1, -INFINITY}, {3, 0x1.555556p-2f, -1}, {0x1.fffffep63f, 0x1.fffffep63f, 0x1p103f},
    };
    enum { N = sizeof triples / sizeof *triples };
    float part[3][N];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < 3; j++) part[j][i] = triples[i][j];
    add("fma", "1.2", json_pack("{s:o,s:o,s:o}", "a", vector_hex(part[0], N), "b", vector_hex(part[1], N), "c", vector_hex(part[2], N)));
    add("fma", "1.2", json_pack("{s:o,s:o,s:o}", "a", drawn(1, 200, 0), "b", drawn(2, 200, 0), "c", drawn(3, 200, -12)));
}

static void make_functions(void)
{
    make_fma();
    add("exp", "2.1", json_pack("{s:o}", "x", FLOATS(0, -0.0f, 1, -1, 0.5f, 0x1.62e430p-1f, 0x1.62e42ep-1f, -0x1.62e430p-2f, 0x1p-149f, -0x1p-25f, 88,
        0x1.62e42ep6f, 0x1.62e430p6f, 89, 1000, INFINITY, -87, -87.5f, -0x1.5d58a0p6f, -100, -103, -0x1.9fe368p6f, -103.97208f, -104, -1000, -INFINITY, NAN)));
    add("exp", "2.1", json_pack("{s:o}", "x", drawn(4, 150, 7)));
    add("exp", "2.1", json_pack("{s:o}", "x", drawn(5, 50, 0)));
    add("log", "2.2", json_pack("{s:o}", "x", FLOATS(1, 0x1.000002p0f, 0x1.fffffep-1f, 2, 0.5f, 0x1.555554p0f, 0x1.555556p0f, 0x1.555556p-1f, 0x1.555554p-1f, 10,
        0x1p-126f, 0x1.fffffcp-127f, 0x1p-149f, 0x1.8p-148f, 0x1.fffffep127f, INFINITY, 0, -0.0f, -1, -0x1p-149f, -INFINITY, NAN)));
    float positive[150];
    for (size_t i = 0; i < 150; i++) positive[i] = ldexpf(1 + (float)(i * i % 1024) / 1024, (int)(i % 250) - 75);
    add("log", "2.2", json_pack("{s:o}", "x", vector_hex(positive, 150)));
    add("sigmoid", "2.3", json_pack("{s:o}", "x", FLOATS(0, -0.0f, 1, -1, 20, -20, 88, -88, -95, -103, -104, 200, -200, INFINITY, -INFINITY, NAN)));
    add("sigmoid", "2.3", json_pack("{s:o}", "x", drawn(6, 100, 4)));
    add("exp", "2.1", json_pack("{s:o}", "x", drawn(7, 20000, 6)));
    add("exp", "2.1", json_pack("{s:o}", "x", drawn(8, 20000, -1)));
    add("sigmoid", "2.3", json_pack("{s:o}", "x", drawn(9, 20000, 3)));
    add("log", "2.2", json_pack("{s:o}", "x", drawn(10, 20000, 1)));
    add("double_exp", "3.1", json_pack("{s:o}", "x", DOUBLES(0, -0.0, 1, -1, 0.5, 1e-10, 0.34657359027997264, 700, 709.78, 710, 711, -708.5, -740, -745.2, -746, -747, INFINITY, NAN)));
    add("double_log", "3.2", json_pack("{s:o}", "x", DOUBLES(1, 2, 0.5, 0.70710678118654746, 0.70710678118654757, 1.4142135623730951, 10, 1e300, 1e-310, 0x1p-1074, 0.999999, 0, -1, INFINITY, NAN)));
    double ends[512]; // where the series converges slowest, so that its last term shows
    for (size_t i = 0; i < 256; i++) ends[i] = 1.40625 + (double)i / 32768, ends[256 + i] = 0.7109375 + (double)i / 32768;
    add("double_log", "3.2", json_pack("{s:o}", "x", doubles(ends, 512)));
    add("double_log1p", "3.3", json_pack("{s:o}", "x", DOUBLES(0, 1e-300, 1e-17, -1e-17, 0.5, 1, 3, -0.5, -1, -2, 1e10, 0x1p61, INFINITY)));
    add("double_sin", "3.6", json_pack("{s:o}", "x", DOUBLES(0, -0.0, 0.5, -0.5, 0.78539816339744828, 1.5707963267948966, 3, -3, 6.2831853071795862, 100.25, 1048576, -1048575.5)));
    add("double_cos", "3.6", json_pack("{s:o}", "x", DOUBLES(0, 0.5, -0.5, 0.78539816339744828, 1.5707963267948966, 3, -3, 6.2831853071795862, 100.25, 1048576, -1048575.5)));
    add("double_pow", "3.5", json_pack("{s:o,s:o}", "x", DOUBLES(0.9, 0.95, 0.999, 0.999, 10000, 10000, 10000, 2, 2, 1e5, 0.5), "y",
        DOUBLES(1, 64, 64, 65, 0.125, 1.96875, 0, -0.5, 2000, 0.75, 1074.5)));
    static const size_t lengths[] = {1, 15, 16, 17, 255, 257, 4097, 12289};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) add("sums", "1.3 1.5 1.6 10.5", json_pack("{s:o}", "x", drawn(20 + (unsigned)i, lengths[i], 0)));
    add("sums", "1.3 1.5", json_pack("{s:o}", "x", FLOATS(-0.0f, -0.0f, -0.0f)));
    add("sums", "1.3", json_pack("{s:o}", "x", FLOATS(-1, -0.0f, 0, -0.0f)));
    add("sums", "1.3", json_pack("{s:o}", "x", FLOATS(0, -0.0f, -3)));
}

static void make_philox(void)
{
    // The published known answers: Random123 1.14, tests/kat_vectors, philox4x32 10
    add("philox", "4.1", parse("{\"counter\":[0,0,0,0],\"key\":[0,0]}"));
    add("philox", "4.1", parse("{\"counter\":[4294967295,4294967295,4294967295,4294967295],\"key\":[4294967295,4294967295]}"));
    add("philox", "4.1", parse("{\"counter\":[608135816,2242054355,320440878,57701188],\"key\":[2752067618,698298832]}"));
    add("draw", "4.2 4.3 4.4 4.5", parse("{\"seed\":1,\"stream\":3,\"iteration\":0,\"c0\":0,\"c1\":0,\"c2\":0,\"n\":10}"));
    add("draw", "4.2 4.3 4.4 4.5", parse("{\"seed\":9223372036854775807,\"stream\":10,\"iteration\":16777215,\"c0\":4294967295,\"c1\":7,\"c2\":5,\"n\":4294967295}"));
    add("draw", "4.2 4.3 4.4 4.5", parse("{\"seed\":4294967296,\"stream\":1,\"iteration\":3,\"c0\":2,\"c1\":1,\"c2\":9,\"n\":1}"));
    add("shuffle", "4.6", parse("{\"n\":1,\"seed\":1,\"stream\":2,\"iteration\":0}"));
    add("shuffle", "4.6", parse("{\"n\":37,\"seed\":1,\"stream\":2,\"iteration\":0}"));
    add("shuffle", "4.6", parse("{\"n\":37,\"seed\":1,\"stream\":4,\"iteration\":1025}"));
    add("stage", "11.1", parse("{\"prompts\":7,\"stage\":3,\"iterations\":6,\"seed\":5}"));
    add("stage", "11.1", parse("{\"prompts\":5,\"stage\":11,\"iterations\":2,\"seed\":6}"));
    add("replay", "14.2", parse("{\"texts\":7,\"chosen\":30,\"replay\":0.1,\"iterations\":4,\"seed\":5}"));
}

// ---- arrays ----------------------------------------------------------------------------------------------------------------------

static void make_linear(void)
{
    static const size_t sizes[][3] = {{1, 1, 1}, {1, 19, 7}, {3, 5, 17}, {2, 17, 33}, {7, 37, 12}, {15, 33, 65}, {1, 300, 45}, {29, 1, 48}, {13, 21, 531}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t rows = sizes[i][0], out = sizes[i][1], in = sizes[i][2];
        unsigned seed = 100 + 10 * (unsigned)i;
        json_t *forward = json_pack("{s:I,s:I,s:I,s:o,s:o}", "rows", (json_int_t)rows, "out", (json_int_t)out, "in", (json_int_t)in,
            "x", drawn(seed, rows * in, 0), "w", drawn(seed + 1, out * in, 0));
        if (i % 2) json_object_set_new(forward, "y", drawn(seed + 2, rows * out, 0));
        add("linear_forward", "6.3", forward);
        add("linear_backward", "8.1", json_pack("{s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "rows", (json_int_t)rows, "out", (json_int_t)out, "in", (json_int_t)in,
            "x", drawn(seed, rows * in, 0), "w", drawn(seed + 1, out * in, 0), "dy", drawn(seed + 3, rows * out, 0), "dw", drawn(seed + 4, out * in, 0)));
    }
}

// Products that underflow to -0 in every lane: their sum is +0, because a long sum starts from +0; dx[16] tells its sign.
static void add_underflowing_row(void)
{
    float x[17], w[17], dy[17], dx[17];
    for (size_t i = 0; i < 17; i++) x[i] = 0x1p-140f, w[i] = 1, dy[i] = i < 16 ? -0x1p-60f : -0.0f, dx[i] = -0.0f;
    add("rmsnorm", "1.6 8.2", json_pack("{s:I,s:I,s:f,s:o,s:o,s:o,s:o,s:o}", "rows", (json_int_t)1, "dim", (json_int_t)17, "eps", 1e-5, "x", vector_hex(x, 17),
        "w", vector_hex(w, 17), "dy", vector_hex(dy, 17), "dx", vector_hex(dx, 17), "dw", drawn(291, 17, 0)));
}

static void make_rows(void)
{
    static const size_t sizes[][2] = {{1, 1}, {3, 12}, {2, 16}, {5, 37}, {1, 4100}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t rows = sizes[i][0], dim = sizes[i][1];
        unsigned seed = 200 + 10 * (unsigned)i;
        add("rmsnorm", "6.2 8.2", json_pack("{s:I,s:I,s:f,s:o,s:o,s:o,s:o,s:o}", "rows", (json_int_t)rows, "dim", (json_int_t)dim, "eps", i % 2 ? 1e-6 : 1e-5,
            "x", drawn(seed, rows * dim, 1), "w", drawn(seed + 1, dim, 0), "dy", drawn(seed + 2, rows * dim, 0), "dx", drawn(seed + 3, rows * dim, 0), "dw",
            drawn(seed + 4, dim, 0)));
        add("swiglu", "2.4 6.4 8.4", json_pack("{s:I,s:I,s:o,s:o}", "rows", (json_int_t)rows, "ff", (json_int_t)dim, "gate_up", drawn(seed + 5, 2 * rows * dim, 3),
            "dh", drawn(seed + 6, rows * dim, 0)));
    }
    add_underflowing_row();
    json_t *rope = parse("{\"heads\":3,\"head_dim\":6,\"context\":12,\"rope_theta\":10000,\"rope_type\":\"default\",\"position\":[0,1,5,11]}");
    json_object_set_new(rope, "x", drawn(300, 4 * 18, 0));
    add("rope", "5.4 6.5", rope);
    rope = parse("{\"heads\":1,\"head_dim\":34,\"context\":9,\"rope_theta\":100000,\"rope_type\":\"linear\",\"factor\":4,\"position\":[8,3]}");
    json_object_set_new(rope, "x", drawn(301, 68, 0));
    add("rope", "5.4 6.5", rope);
    rope = parse("{\"heads\":2,\"head_dim\":32,\"context\":5,\"rope_theta\":500000,\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
        "\"high_freq_factor\":4,\"original_max_position_embeddings\":64,\"position\":[4,2]}");
    json_object_set_new(rope, "x", drawn(302, 128, 0));
    add("rope", "5.4 6.5", rope);
    json_t *lookup = parse("{\"dim\":5,\"ids\":[3,0,3,3,1,0]}");
    json_object_set_new(lookup, "dtable", drawn(310, 20, 0));
    json_object_set_new(lookup, "dy", drawn(311, 30, 0));
    add("embedding_backward", "8.6", lookup);
}

static void make_attention(void)
{
    static const struct { const char *sizes; size_t rows, width, out; } cases[] = {
        {"{\"heads\":1,\"kv_heads\":1,\"head_dim\":2,\"lengths\":[1]}", 1, 6, 2},
        {"{\"heads\":4,\"kv_heads\":2,\"head_dim\":6,\"lengths\":[5,1,3]}", 9, 48, 24},
        {"{\"heads\":3,\"kv_heads\":1,\"head_dim\":10,\"lengths\":[17,16,33]}", 66, 50, 30},
        {"{\"heads\":2,\"kv_heads\":2,\"head_dim\":20,\"lengths\":[53]}", 53, 120, 40},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *in = parse(cases[i].sizes);
        json_object_set_new(in, "qkv", drawn(400 + (unsigned)i, cases[i].rows * cases[i].width, 2));
        json_object_set_new(in, "dout", drawn(420 + (unsigned)i, cases[i].rows * cases[i].out, 0));
        add("attention", "6.6 8.5", in);
    }
}

static void make_losses(void)
{
    static const size_t vocabularies[] = {1, 2, 15, 37, 300, 4099};
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        size_t vocab = vocabularies[i], rows = i < 4 ? 3 : 1;
        json_t *in = json_pack("{s:I,s:o,s:o,s:o}", "vocab", (json_int_t)vocab, "logits", drawn(500 + (unsigned)i, rows * vocab, 3), "scale",
            drawn(520 + (unsigned)i, rows, -2), "target", json_array());
        for (size_t r = 0; r < rows; r++) json_array_append_new(json_object_get(in, "target"), json_integer((json_int_t)((r * 7 + 1) % vocab)));
        add("cross_entropy", "7.1 7.2", in);
    }
    add("cross_entropy", "7.1 7.2", json_pack("{s:I,s:o,s:o,s:[i]}", "vocab", (json_int_t)5, "logits", FLOATS(200, -200, 0, 199, 90), "scale", FLOATS(0.25f), "target", 1));
    add("logistic_loss", "7.3 7.4", json_pack("{s:o,s:o}", "score", FLOATS(0, -0.0f, 1, -1, 30, -30, 100, -100, 0x1p-30f, 2.5f, -7), "label", FLOATS(1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0)));
    add("pair_loss", "7.3 7.5", json_pack("{s:o}", "score", FLOATS(1, 0, 0, 1, 3, 3, -20, 20, 20, -20, 0x1p-20f, 0)));
    json_t *adamw = parse("{\"steps\":4,\"beta1\":0.9,\"beta2\":0.95,\"eps\":1e-8,\"weight_decay\":0.1,\"clip\":1}");
    json_object_set_new(adamw, "w", drawn(530, 34, 0));
    json_object_set_new(adamw, "g", drawn(531, 4 * 34, -1));
    json_object_set_new(adamw, "norm", DOUBLES(0.5, 2.75, 1, 1e9));
    json_object_set_new(adamw, "lr", DOUBLES(1e-3, 2e-3, 0, 0.1));
    add("adamw", "9.2 9.4", adamw);
    adamw = parse("{\"steps\":3,\"beta1\":0.5,\"beta2\":0.999,\"eps\":1e-6,\"weight_decay\":0,\"clip\":0}");
    json_object_set_new(adamw, "w", drawn(532, 18, 0));
    json_object_set_new(adamw, "g", drawn(533, 3 * 18, -20));
    json_object_set_new(adamw, "norm", DOUBLES(5, 5, 5));
    json_object_set_new(adamw, "lr", DOUBLES(1e-2, 1e-2, 1e-2));
    add("adamw", "9.2 9.4", adamw);
    add("schedule", "9.5", parse("{\"schedule\":\"cosine\",\"lr\":0.001,\"warmup\":0.1,\"final_lr\":0.1,\"steps\":23}"));
    add("schedule", "9.5", parse("{\"schedule\":\"linear\",\"lr\":0.01,\"warmup\":0.3,\"final_lr\":0,\"steps\":7}"));
    add("schedule", "9.5", parse("{\"schedule\":\"constant\",\"lr\":0.5,\"warmup\":0.5,\"final_lr\":0.1,\"steps\":5}"));
    add("schedule", "9.5", parse("{\"schedule\":\"cosine\",\"lr\":1,\"warmup\":1,\"final_lr\":0.1,\"steps\":3}"));
    json_t *ppo = parse("{\"lengths\":[5,1,9,4],\"beta\":0.05,\"gamma\":0.99,\"lambda\":0.95,\"ratio_clip\":0.2,\"value_clip\":0.2,\"vf_coef\":0.1}");
    static const char *const arrays[] = {"logprob", "ref_logprob", "value", "logprob_now", "value_now"};
    for (size_t i = 0; i < 5; i++) json_object_set_new(ppo, arrays[i], drawn(540 + (unsigned)i, 19, i < 4 ? 0 : -1));
    json_object_set_new(ppo, "score", FLOATS(1.5f, -0.25f, 0, 3));
    add("ppo", "22.2 22.3 22.4 22.5 22.6", ppo);
}

// ---- decisions -------------------------------------------------------------------------------------------------------------------

static void add_choice(json_t *logits, double temperature, int top_k, double top_p)
{
    json_t *in = json_pack("{s:o,s:f,s:i,s:f}", "logits", logits, "temperature", temperature, "top_k", top_k, "top_p", top_p);
    float u[40];
    for (size_t i = 0; i < 40; i++) u[i] = (float)((i * 7919 + 13) % 4096) / 4096;
    u[0] = 0, u[1] = 0x1.fffffep-1f, u[2] = 0x1p-24f, u[3] = 0.5f;
    json_object_set_new(in, "u", vector_hex(u, 40));
    add("choose", "10", in);
}

static void make_choices(void)
{
    const float ties[] = {1, 3, 3, 0, 3, -1, 3, 2, 2, -2}, zeros[] = {-0.0f, 0, -0.0f, 0, -1}, one[] = {5}, even[] = {2, 2, 2, 2};
    const float hopeless[] = {-200, -200, 50, -200, -200};
    add_choice(vector_hex(ties, 10), 0, 0, 1);
    for (int k = 0; k <= 5; k++) add_choice(vector_hex(ties, 10), 1, k, 1);
    for (int p = 1; p <= 9; p += 2) add_choice(vector_hex(ties, 10), 1, 0, p / 10.0);
    add_choice(vector_hex(ties, 10), 0.5, 4, 0.6);
    add_choice(vector_hex(zeros, 5), 0, 0, 1);
    add_choice(vector_hex(zeros, 5), 1, 2, 1);
    add_choice(vector_hex(one, 1), 1, 0, 0.1);
    add_choice(vector_hex(even, 4), 1, 0, 0.5); // the second token brings the sum to the target exactly
    add_choice(vector_hex(hopeless, 5), 1, 0, 1);
    add_choice(drawn(600, 300, 3), 1, 0, 1);
    add_choice(drawn(600, 300, 3), 0.7, 50, 0.95);
    add_choice(drawn(601, 1000, 1), 1.3, 0, 0.9);
    add_choice(drawn(602, 1000, 4), 0.01, 0, 1);
    add_choice(drawn(603, 513, 2), 1, 512, 1e-6);
}

static void make_ranks(void)
{
    // three slots, the third with an expert's two answers more; ties, zeros of both signs
    static const char *const how[] = {"{\"mode\":\"local\",\"K\":3}", "{\"mode\":\"local\",\"K\":3,\"beta\":0.5}", "{\"mode\":\"global\",\"K\":3}",
        "{\"mode\":\"global\",\"K\":3,\"accept\":0.3}", "{\"mode\":\"global\",\"K\":3,\"accept\":0.2727272727272727}", "{\"mode\":\"global\",\"K\":3,\"accept\":1}",
        "{\"mode\":\"global\",\"K\":3,\"accept\":0.001,\"beta\":0.1}"};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        json_t *in = parse(how[i]);
        json_object_set_new(in, "slot", parse("[0,0,0,1,1,1,2,2,2,2,2]"));
        json_object_set_new(in, "score", FLOATS(1, 3, 3, -0.0f, 0, -1, 3, 0.1f, 3, 2.5f, 3));
        json_object_set_new(in, "log_ratio", FLOATS(0, 1, 0.5f, 0, 0.25f, -2, 3, -0.3f, 0, -1, 0));
        add("rank", "13", in);
    }
}

static void make_texts(void)
{
    static const char *const texts = "[\"the cat sat on the mat\",\"the cats sat; the mats don't\",\"aaaa aaa aa a\",\"<|end|>the<|end|>\",\"12 345 x2\"]";
    static const char *const encode = "[\"\",\"the\",\" the mats\",\"on  the   mat\",\"aaaaaaa\",\"don't I'll WE'VE\",\"a<|end|>b  <|end|>\",\"x  y\\n\\n z \",\"caf\\u00e9 \\u4f60\\u597d 12345\","
        "\"\\ud83d\\ude00!? --\",\"tab\\tend\\u00a0\"]";
    for (int digits = 0; digits < 2; digits++)
        add("bpe", "15", json_pack("{s:o,s:o,s:[s],s:i,s:i,s:i}", "texts", parse(texts), "encode", parse(encode), "special", "<|end|>", "vocab", 285, "split_digits", digits,
            "min_count", 1));
    add("bpe", "15", json_pack("{s:o,s:o,s:[s,s],s:i,s:i,s:i}", "texts", parse(texts), "encode", parse(encode), "special", "<|end|>", "<|end|>a", "vocab", 400, "split_digits", 0,
        "min_count", 3));
    add("repair", "15.7", parse("{\"bytes\":[65,255,66,195,169,195,226,130,65,226,130,172,240,159,152,237,160,128,192,175,0,240,159,152,128,224]}"));
    add("numbers", "16.1", json_pack("{s:o}", "x", DOUBLES(0, -0.0, 1, -1, 0.1, (double)0.1f, 1.0 / 3, 1e-5, 1e-4, 123456789, 1234567890, 1e9, 999999999.4, 1e300, 5e-324,
        -2.5e-7, (double)0x1.fffffep127f, 16777216, 0.30000001192092896)));
    add("rewards", "12", parse("{\"texts\":[\"\",\"good\",\"Good, good bad film\",\"it's the best 'Best' one\",\"bad\\u00e9 don't rock'n'roll 12\",\"a b c d e f g h\"],"
        "\"rewards\":[\"lexicon:tests/vectors/words.txt\",\"-0.3*length:3\"]}"));
    json_t *measures = parse("{\"cut\":6,\"segment\":5,\"seed\":3,\"tokens\":[[1,2,3,1,2],[4,4,4,4,4,4,4,4],[1,2],[9],[3,1,2,3,1,2,7],[5,6]]}");
    json_object_set_new(measures, "value", FLOATS(-3.5f, -1.25f, -0.1f, 0.2f, -7, -2));
    add("measures", "17", measures);
}

// ---- models ----------------------------------------------------------------------------------------------------------------------

#define GROUPED "{\"vocab\":37,\"dim\":12,\"layers\":2,\"heads\":2,\"kv_heads\":1,\"head_dim\":6,\"ff\":20,\"context\":40,\"seed\":3,\"shift\":4"
#define ODD "{\"vocab\":23,\"dim\":18,\"layers\":1,\"heads\":3,\"head_dim\":6,\"ff\":17,\"context\":40,\"seed\":4,\"shift\":3"
#define SEQUENCES "[[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20],[5,5,5],[22,0,22,0,7],[8,9,10,11,12,13,14,15,16]]"

static json_t *with_model(const char *model, const char *rest)
{
    json_t *in = parse(rest);
    json_object_set_new(in, "model", parse(model));
    return in;
}

static void make_models(void)
{
    add("initial", "5.2 5.3 16.6", with_model(GROUPED ",\"tied\":true}", "{}"));
    add("initial", "5.2 5.3 16.6", with_model(ODD ",\"head\":\"score\",\"pooling\":\"mean\"}", "{}"));
    add("forward", "6", with_model(GROUPED ",\"tied\":true}", "{\"sequences\":" SEQUENCES "}"));
    add("forward", "6", with_model(ODD "}", "{\"sequences\":" SEQUENCES "}"));
    add("train", "7.2 8 9", with_model(GROUPED ",\"tied\":true}", "{\"loss\":\"lm\",\"steps\":2,\"sequences\":" SEQUENCES ",\"prompts\":[4,0,3,8]}"));
    add("train", "7.2 8 9", with_model(GROUPED ",\"tied\":true}", "{\"loss\":\"lm\",\"steps\":2,\"micro_rows\":1,\"sequences\":" SEQUENCES ",\"prompts\":[4,0,3,8]}"));
    add("train", "7.2 8 9", with_model(ODD "}", "{\"loss\":\"lm\",\"steps\":2,\"clip\":0,\"sequences\":" SEQUENCES ",\"prompts\":[0,0,0,0]}"));
    add("train", "7.4 8 9", with_model(ODD ",\"head\":\"score\"}", "{\"loss\":\"logistic\",\"steps\":2,\"sequences\":" SEQUENCES ",\"labels\":[1,0,0,1]}"));
    add("train", "7.4 8 9", with_model(GROUPED ",\"head\":\"score\",\"pooling\":\"mean\"}", "{\"loss\":\"logistic\",\"steps\":2,\"sequences\":" SEQUENCES ",\"labels\":[1,0,0,1]}"));
    add("train", "7.5 8 9", with_model(GROUPED ",\"head\":\"score\",\"pooling\":\"mean\"}", "{\"loss\":\"pairs\",\"steps\":2,\"sequences\":" SEQUENCES "}"));
    static const char head[] = "{\"vocab\":23,\"dim\":8,\"layers\":1,\"heads\":2,\"ff\":9,\"context\":8,\"seed\":4,\"shift\":3,\"head\":\"score\"}";
    add("head", "18.2 18.3 18.4", with_model(head, "{\"seed\":12,\"head_tokens\":6,\"sequences\":" SEQUENCES ",\"labels\":[1,0,0,1]}"));
    add("head", "18.2", with_model(head, "{\"seed\":12,\"head_tokens\":6,\"prefix_most\":4,\"sequences\":" SEQUENCES ",\"labels\":[1,0,0,1]}"));
    add("sample", "10 11.2 11.5", with_model(GROUPED ",\"tied\":true,\"eos\":0}", "{\"sequences\":[[1],[7,8,9],[5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5]],\"K\":4,\"max_new\":9,\"seed\":21,\"iteration\":2}"));
    add("sample", "10 11.2 11.5", with_model(ODD ",\"eos\":3}", "{\"sequences\":[[1],[7,8,9]],\"K\":3,\"max_new\":20,\"seed\":22,\"temperature\":0.8,\"top_k\":7,\"top_p\":0.9}"));
    add("sample", "10.2", with_model(ODD ",\"eos\":3}", "{\"sequences\":[[1],[7,8,9]],\"K\":1,\"max_new\":20,\"seed\":22,\"temperature\":0}"));
}

static void make_raft(void)
{
    static const char *const texts = "\"texts\":[\"this film is good\",\"a good good film\",\"this is a bad film, the worst\",\"the best film of the year\",\"it is bad\"],"
        "\"vocab\":275,\"prompts\":[\"this film\",\"a\",\"the worst\",\"it is\",\"best of\"],\"rewards\":[\"lexicon:tests/vectors/words.txt\",\"-0.25*length:2\"]";
    static const char *const model = "{\"dim\":12,\"layers\":2,\"heads\":2,\"kv_heads\":1,\"ff\":20,\"context\":48,\"seed\":7,\"shift\":4,\"tied\":true,\"eos\":0}";
    static const char *const how[] = {
        "{%s,\"seed\":11,\"stage\":3,\"K\":4,\"iterations\":3,\"mode\":\"local\",\"max_new\":8,\"lr\":0.02,\"batch\":2,\"epochs\":2}",
        "{%s,\"seed\":12,\"stage\":5,\"K\":3,\"iterations\":2,\"mode\":\"global\",\"accept\":0.4,\"beta\":0.1,\"max_new\":6,\"lr\":0.02,\"batch\":4,\"epochs\":1,"
        "\"temperature\":0.9,\"top_k\":100,\"top_p\":0.95,\"stop\":\"s\",\"expert\":\"tests/vectors/answers.jsonl\"}",
    };
    for (size_t i = 0; i < 2; i++) {
        char in[2000];
        snprintf(in, sizeof in, how[i], texts);
        add("raft", "14", with_model(model, in));
    }
}

static void (*const makers[])(void) = { // in the order of vector_files
    make_philox, make_functions, make_linear, make_rows, make_attention, make_losses, make_choices, make_ranks, make_texts, make_models, make_raft,
};

int main(void)
{
    Err err = {0};
    if (compute_init(&cx, "plain", "own", 1, &err)) return fprintf(stderr, "make_vectors: %s\n", err.text), err.status;
    for (size_t i = 0; vector_files[i]; i++) {
        makers[i]();
        write(vector_files[i]);
    }
    compute_free(&cx);
    return 0;
}
