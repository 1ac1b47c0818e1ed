// SPDX-License-Identifier: MIT
// Files written by another implementation are read to the bit and written to the same bytes; damaged ones are refused.
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include "tests/support.h"

#include "files/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t build(uint8_t *file, const char *header, const void *data, size_t n)
{
    uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(length >> (8 * i));
    memcpy(file + 8, header, length);
    if (n) memcpy(file + 8 + length, data, n);
    return 8 + length + n;
}

static void write_tensors(const char *header, const void *data, size_t n)
{
    uint8_t *file = malloc(8 + strlen(header) + n);
    write_file(test_file, file, build(file, header, data, n));
    free(file);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

// ---- known answers ---------------------------------------------------------------------------------------------------

static char *golden(const char *name)
{
    char *found = golden_path(name);
    if (!found) skip_because("tests/golden/%s is missing (tests run from the top folder)", name);
    return found;
}

// First value, last value and sum of all bit patterns, as numpy prints them.
static void reads_what_transformers_wrote(void **state)
{
    (void)state;
    static const struct { const char *name; size_t rows, cols; float first, last; uint64_t sum; } want[] = {
        {"model.norm.weight", 64, 0, 0x1.0b4d7cp+0f, 0x1.221db4p+0f, 0xfdda4541f},
        {"model.embed_tokens.weight", 512, 64, -0x1.868d74p-1f, 0x1.260ab2p-2f, 0x3f40b0b02668},
        {"model.layers.0.self_attn.k_proj.weight", 32, 64, -0x1.0ecb36p-5f, -0x1.aba63ep-5f, 0x3df4f918e81},
    };
    char *file = golden("llama-tiny/model.safetensors");
    Err err = {0};
    Safetensors st;
    assert_ok(safetensors_open(&st, file, &err), &err);
    assert_int_equal(st.count, 20);
    for (size_t i = 0; i < 3; i++) {
        const StTensor *t = safetensors_need(&st, want[i].name, &err);
        if (!t) fail_msg("%s", err.text);
        assert_int_equal(t->type, ST_F32);
        assert_int_equal(t->dims, want[i].cols ? 2 : 1);
        assert_int_equal(t->shape[0], want[i].rows);
        if (want[i].cols) assert_int_equal(t->shape[1], want[i].cols);
        float *values = malloc(t->count * sizeof *values);
        assert_ok(safetensors_read_f32(&st, t, values, t->count, &err), &err);
        uint64_t sum = 0;
        for (size_t k = 0; k < t->count; k++) sum += bits_of(values[k]);
        assert_same_bits(&values[0], &want[i].first, 1, want[i].name);
        assert_same_bits(&values[t->count - 1], &want[i].last, 1, want[i].name);
        assert_true(sum == want[i].sum);
        free(values);
    }
    safetensors_close(&st);
    free(file);
}

static void reads_integers_of_another_implementation(void **state)
{
    (void)state;
    char *file = golden("llama-tiny/expected.safetensors");
    Err err = {0};
    Safetensors st;
    assert_ok(safetensors_open(&st, file, &err), &err);
    const StTensor *ids = safetensors_need(&st, "input_ids", &err), *labels = safetensors_need(&st, "labels", &err);
    int64_t values[87], want[] = {351, 11, 337, 326, 63, 87}, sum = 0;
    assert_ok(safetensors_read_i64(&st, ids, values, 87, &err), &err);
    for (int i = 0; i < 87; i++) sum += values[i];
    assert_memory_equal(values, want, sizeof want);
    assert_int_equal(sum, 23060);
    assert_ok(safetensors_read_i64(&st, labels, values, 87, &err), &err);
    for (int i = sum = 0; i < 87; i++) sum += values[i];
    assert_int_equal(values[0], -100);
    assert_int_equal(sum, 9592);
    safetensors_close(&st);
    free(file);
}

static void writes_the_bytes_that_transformers_writes(void **state)
{
    (void)state;
    const char *names[] = {"llama-tiny/model.safetensors", "llama-untied/model.safetensors", "reward-tiny/model.safetensors"};
    for (size_t f = 0; f < 3; f++) {
        char *file = golden(names[f]);
        Err err = {0};
        Safetensors st;
        StOutput out[40];
        assert_ok(safetensors_open(&st, file, &err), &err);
        for (size_t i = 0; i < st.count; i++) {
            const StTensor *t = &st.tensors[st.count - 1 - i]; // any order will do
            float *values = malloc(t->count * sizeof *values);
            assert_ok(safetensors_read_f32(&st, t, values, t->count, &err), &err);
            out[i] = (StOutput){.name = t->name, .type = ST_F32, .dims = t->dims, .data = values};
            memcpy(out[i].shape, t->shape, sizeof t->shape);
        }
        assert_ok(safetensors_write(test_file, out, st.count, &err), &err);
        assert_same_file(test_file, file);
        for (size_t i = 0; i < st.count; i++) free((void *)(uintptr_t)out[i].data);
        safetensors_close(&st);
        free(file);
    }
}

static void python_opens_what_is_written(void **state)
{
    (void)state;
    if (system("python3 -c 'import numpy, safetensors.numpy' > /dev/null 2>&1") != 0)
        skip_because("python3 with safetensors is not installed");
    float x[3] = {1.5f, -0.0f, 1e-45f};
    int64_t y[2] = {-100, INT64_MAX};
    StOutput out[] = {{"a.odd", ST_F32, 1, {3}, x}, {"q\"\\\xC3\xA9", ST_I64, 2, {1, 2}, y}, {"scalar", ST_F32, 0, {0}, x},
        {"none", ST_F32, 2, {0, 5}, NULL}, {"bytes", ST_U8, 1, {5}, "a\xff\0bc"}};
    Err err = {0};
    char command[900];
    assert_ok(safetensors_write(test_file, out, 5, &err), &err);
    snprintf(command, sizeof command,
        "python3 -c 'import sys; from safetensors import safe_open; from safetensors.numpy import load_file\n"
        "t = load_file(sys.argv[1]); n = \"q\\\"\\\\\\u00e9\"\n"
        "assert sorted(t) == sorted([\"a.odd\", n, \"scalar\", \"none\", \"bytes\"]) and bytes(t[\"bytes\"]) == b\"a\\xff\\0bc\"\n"
        "assert t[\"a.odd\"].tolist() == [1.5, -0.0, 2.0**-149] and t[n].tolist() == [[-100, 2**63-1]] and t[\"scalar\"].shape "
        "== ()\n"
        "assert t[\"none\"].shape == (0, 5) and t[\"a.odd\"].dtype == \"float32\" and safe_open(sys.argv[1], \"np\").metadata() "
        "== {\"format\": \"pt\"}\n"
        "' '%s'",
        test_file);
    assert_int_equal(system(command), 0);
}

// ---- conversions -----------------------------------------------------------------------------------------------------

static void every_half_and_bfloat_is_exact(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        int exponent = bits >> 10 & 31, fraction = bits & 1023;
        double sign = bits >> 15 ? -1 : 1, want;
        if (exponent == 31) want = fraction ? (double)NAN : (double)INFINITY;
        else want = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        float got = float_from_half((uint16_t)bits);
        if (isnan(want) ? !isnan(got) : (double)got != sign * want || !signbit(got) != !(bits >> 15))
            fail_msg("half %04x: %g", bits, (double)got);

        exponent = bits >> 7 & 255, fraction = bits & 127;
        if (exponent == 255) want = fraction ? (double)NAN : (double)INFINITY;
        else want = exponent ? ldexp(128 + fraction, exponent - 134) : ldexp(fraction, -133);
        got = float_from_bfloat((uint16_t)bits);
        if (isnan(want) ? !isnan(got) : (double)got != sign * want || !signbit(got) != !(bits >> 15))
            fail_msg("bfloat %04x: %g", bits, (double)got);
    }
}

static void converts_every_type_it_knows(void **state)
{
    (void)state;
    // Unaligned on purpose: the header has an odd length, and a byte tensor comes first.
    const char *header = "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"d\":{\"dtype\":\"F64\",\"shape\":[2],"
                         "\"data_offsets\":[1,17]},"
                         "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[17,21]},\"g\":{\"dtype\":\"BF16\",\"shape\":["
                         "2],\"data_offsets\":[21,25]},"
                         "\"i\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[25,33]},\"t\":{\"dtype\":\"BOOL\",\"shape\":[]"
                         ",\"data_offsets\":[33,34]},"
                         "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[34,38]},\"j\":{\"dtype\":\"I64\",\"shape\":[1]"
                         ",\"data_offsets\":[38,46]}} ";
    const uint8_t data[46] = {7, /* 0.1 */ 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, /* -2 */ 0, 0, 0, 0, 0, 0, 0, 0xc0,
        /* 1, -2^-24 */ 0, 0x3c, 1, 0x80, /* 1, -3 */ 0x80, 0x3f, 0x40, 0xc0, /* -2, 2^31-1 */ 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f, 1, /* 0.1f */ 0xcd, 0xcc, 0xcc, 0x3d, /* -2^63+1 */ 1, 0, 0, 0, 0, 0, 0, 0x80};
    write_tensors(header, data, sizeof data);
    static const struct { const char *name; size_t n; float values[2]; } floats[] = {
        {"d", 2, {0.1f, -2}}, {"h", 2, {1, -0x1p-24f}}, {"g", 2, {1, -3}}, {"f", 1, {0.1f, 0}}};
    Err err = {0};
    Safetensors st;
    float got[2];
    int64_t whole[2];
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        assert_ok(safetensors_read_f32(&st, safetensors_find(&st, floats[i].name), got, floats[i].n, &err), &err);
        assert_same_bits(got, floats[i].values, floats[i].n, floats[i].name);
    }
    assert_ok(safetensors_read_i64(&st, safetensors_find(&st, "i"), whole, 2, &err), &err);
    assert_true(whole[0] == -2 && whole[1] == INT32_MAX);
    assert_ok(safetensors_read_i64(&st, safetensors_find(&st, "j"), whole, 1, &err), &err);
    assert_true(whole[0] == INT64_MIN + 1);
    assert_int_equal(safetensors_find(&st, "t")->count, 1);
    assert_input_error(
        safetensors_read_f32(&st, safetensors_find(&st, "i"), got, 2, &err), &err, "tensor \"i\": expected floats, found I32");
    assert_input_error(safetensors_read_i64(&st, safetensors_find(&st, "f"), whole, 1, &err), &err,
        "tensor \"f\": expected I64 or I32, found F32");
    assert_input_error(
        safetensors_read_f32(&st, safetensors_find(&st, "h"), got, 1, &err), &err, "expected 1 values, found shape [2]");
    assert_input_error(
        safetensors_read_i64(&st, safetensors_find(&st, "i"), whole, 1, &err), &err, "expected 1 values, found shape [2]");
    safetensors_close(&st);
    safetensors_close(&st);
}

static void a_double_beyond_float_is_refused(void **state)
{
    (void)state;
    double values[2] = {1, 1e39};
    write_tensors("{\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}}", values,
        16); // this test runs on little-endian machines
    Err err = {0};
    Safetensors st;
    float got[2];
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    assert_input_error(safetensors_read_f32(&st, &st.tensors[0], got, 2, &err), &err, "value 1 (1e+39) does not fit");
    safetensors_close(&st);
}

// ---- finding ---------------------------------------------------------------------------------------------------------

static void a_missing_tensor_is_reported_with_near_names(void **state)
{
    (void)state;
    char *file = golden("llama-tiny/model.safetensors");
    Err err = {0};
    Safetensors st;
    assert_ok(safetensors_open(&st, file, &err), &err);
    assert_null(safetensors_find(&st, "model.layers.7.mlp.up_proj.weight"));
    assert_null(safetensors_need(&st, "model.layers.7.mlp.up_proj.weight", &err));
    assert_input_error(-1, &err, "no tensor \"model.layers.7.mlp.up_proj.weight\" (20 tensors; the nearest names: ");
    assert_non_null(strstr(err.text, "model.layers.0.mlp.up_proj.weight, model.layers.1.mlp.up_proj.weight, "));
    for (size_t i = 0; i < st.count; i++) assert_ptr_equal(safetensors_find(&st, st.tensors[i].name), &st.tensors[i]);
    safetensors_close(&st);
    free(file);
    write_tensors("{}", "", 0);
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    assert_int_equal(st.count, 0);
    assert_null(safetensors_need(&st, "x", &err));
    safetensors_close(&st);
}

// ---- damage ----------------------------------------------------------------------------------------------------------

#define ONE(dtype, shape, offsets) "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void refuses_headers_that_lie(void **state)
{
    (void)state;
    static const struct { const char *header, *message;
    } cases[] = {
        // 8 bytes of data follow each
        {ONE("\"F32\"", "[3]", "[0,8]"), "tensor \"x\": data_offsets [0, 8] do not fit its shape and dtype, which need 12 bytes"},
        {ONE("\"F32\"", "[2]", "[0,12]"), "data_offsets: 12 is out of range (0 to 8)"},
        {ONE("\"F32\"", "[2]", "[8,0]"), "do not fit"},
        {ONE("\"F32\"", "[1]", "[0,4]"), "the tensors take 4 bytes, but the file holds 8"},
        {ONE("\"F32\"", "[1]", "[4,8]"), "there is a gap"},
        {ONE("\"F32\"", "[2]", "[-8,0]"), "data_offsets: -8 is out of range"},
        {ONE("\"F32\"", "[2]", "[0,8.0]"), "data_offsets: expected a whole number"},
        {ONE("\"F32\"", "[2]", "[0,99999999999999999999]"), "too big integer"},
        {ONE("\"F32\"", "[2]", "[0]"), "expected two numbers"},
        {ONE("\"F32\"", "[2]", "[0,8,8]"), "expected two numbers"},
        {ONE("\"F32\"", "[2]", "8"), "expected two numbers"},
        {ONE("\"F32\"", "[-2]", "[0,8]"), "shape: -2 is out of range"},
        {ONE("\"F32\"", "[2.5]", "[0,8]"), "shape: expected a whole number"},
        {ONE("\"F32\"", "[\"2\"]", "[0,8]"), "shape: expected a whole number"},
        {ONE("\"F32\"", "2", "[0,8]"), "\"shape\": expected an array"},
        {ONE("\"F32\"", "[4294967296,4294967296]", "[0,8]"), "overflows"},
        {ONE("\"F32\"", "[4611686018427387904]", "[0,8]"), "overflows"},
        {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "9 dimensions"},
        {ONE("\"F8_E4M3\"", "[8]", "[0,8]"), "dtype \"F8_E4M3\" is not supported"},
        {ONE("7", "[2]", "[0,8]"), "\"dtype\": expected a string, found a number (7)"},
        {"{\"x\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "\"dtype\": missing"},
        {"{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "\"shape\": expected an array"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2]}}", "expected two numbers"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", "unexpected key \"more\""},
        {"{\"x\":[]}", "expected an object with dtype"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":["
         "8,8]}}",
            "duplicate"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"y\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":["
         "0,8]}}",
            "overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[0,6]},\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":["
         "4,8]}}",
            "overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"__metadata__\":{\"a\":1}}",
            "__metadata__: key \"a\": expected a string"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"__metadata__\":[]}",
            "__metadata__: expected an object"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}}", "not valid JSON"},
        {" {\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "must begin with '{'"},
        {"[1]", "must begin with '{'"},
        {"", "must begin with '{'"},
        {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "not valid JSON"},
        {"{}", "the tensors take 0 bytes, but the file holds 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_tensors(cases[i].header, "12345678", 8);
        Err err = {0};
        Safetensors st;
        int status = safetensors_open(&st, test_file, &err);
        if (status == 0) fail_msg("accepted: %s", cases[i].header);
        assert_input_error(status, &err, cases[i].message);
        assert_non_null(strstr(err.text, "t.safetensors"));
        assert_null(st.tensors);
    }
}

static void accepts_unusual_but_valid_files(void **state)
{
    (void)state;
    static const struct { const char *header; size_t n;
    } cases[] = {
        {"{}", 0},
        {"{}      ", 0},
        {"{\"__metadata__\":{}}", 0},
        {"{\"z\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":["
         "0,4]}}",
            8},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1,0,7],\"data_offsets\":[4,4]},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"
         "offsets\":[0,4]},"
         "\"c\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},\"d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":["
         "8,8]}}",
            8},
        {ONE("\"U8\"", "[1,1,1,1,1,1,1,8]", "[0,8]"), 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_tensors(cases[i].header, "12345678", cases[i].n);
        Err err = {0};
        Safetensors st;
        assert_ok(safetensors_open(&st, test_file, &err), &err);
        for (size_t k = 1; k < st.count; k++) assert_true(strcmp(st.tensors[k - 1].name, st.tensors[k].name) < 0);
        safetensors_close(&st);
    }
}

static size_t small_file(uint8_t *file)
{
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
        "\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[12,20]}}";
    return build(file, header, "abcdefghijklmnopqrst", 20);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    uint8_t file[400];
    size_t n = small_file(file);
    for (size_t cut = 0; cut <= n + 1; cut++) {
        write_file(test_file, file, cut);
        Err err = {0};
        Safetensors st;
        int status = safetensors_open(&st, test_file, &err);
        if (cut == n) assert_ok(status, &err);
        else assert_input_error(status, &err, "t.safetensors");
        safetensors_close(&st);
    }
}

static void every_length_of_header_is_checked(void **state)
{
    (void)state;
    uint8_t file[400];
    size_t n = small_file(file);
    uint64_t right = file[0];
    uint64_t wrong[] = {0, 1, right - 1, right + 1, n - 8, n - 7, n, 100000000, 100000001, UINT32_MAX, 1ull << 32 | right,
        1ull << 63 | right, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (int k = 0; k < 8; k++) file[k] = (uint8_t)(wrong[i] >> (8 * k));
        write_file(test_file, file, n);
        Err err = {0};
        Safetensors st;
        assert_input_error(safetensors_open(&st, test_file, &err), &err, wrong[i] > n - 8 ? "cut off" : "t.safetensors");
    }
}

static void check_tensors(const Safetensors *st) // reads every byte that the header promises
{
    unsigned sum = 0;
    for (size_t i = 0; i < st->count; i++) {
        const StTensor *t = &st->tensors[i];
        static const size_t sizes[] = {4, 2, 2, 8, 8, 4, 1, 1};
        size_t bytes = t->count * sizes[t->type];
        assert_true(t->data >= st->map.data && bytes <= (size_t)(st->map.data + st->map.size - t->data));
        for (size_t k = 0; k < bytes; k++) sum += t->data[k];
    }
    assert_true(sum < 1u << 31);
}

// Without emptying the file first, which some file systems make slow.
static void change_byte(size_t at, uint8_t byte)
{
    FILE *file = fopen(test_file, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void no_changed_byte_of_the_header_does_harm(void **state)
{
    (void)state;
    uint8_t file[400],
        changed[] = {
            0, 1, ' ', '"', '[', ']', '{', '}', ',', ':', '-', '.', '0', '1', '9', 'e', 'x', '\\', '\n', 0x7f, 0x80, 0xc3, 0xff};
    size_t n = small_file(file), opened = 0;
    write_file(test_file, file, n);
    for (size_t at = 0; at < n - 20; at++) {
        for (size_t i = 0; i <= sizeof changed; i++) {
            change_byte(at, i < sizeof changed ? changed[i] : (uint8_t)(file[at] ^ 1));
            Err err = {0};
            Safetensors st;
            if (safetensors_open(&st, test_file, &err) == 0) check_tensors(&st), opened++;
            else assert_int_equal(err.status, 2);
            safetensors_close(&st);
        }
        change_byte(at, file[at]);
    }
    assert_true(opened > 0); // a changed name is still a name
}

// ---- writing ---------------------------------------------------------------------------------------------------------

static void the_order_given_does_not_change_the_bytes(void **state)
{
    (void)state;
    float x[3] = {1, 2, 3}, y[1] = {4};
    int64_t z[1] = {-1};
    StOutput out[] = {{"b", ST_F32, 1, {3}, x}, {"z", ST_I64, 1, {1}, z}, {"a", ST_F32, 0, {0}, y}},
             other[] = {out[2], out[0], out[1]};
    char *second = path_in(test_folder, "second");
    Err err = {0};
    assert_ok(safetensors_write(test_file, out, 3, &err), &err);
    assert_ok(safetensors_write(second, other, 3, &err), &err);
    assert_same_file(test_file, second);
    size_t n;
    char *file = read_file(test_file, &n);
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
                         "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,24]},\"z\":{\"dtype\":\"I64\",\"shape\":[1]"
                         ",\"data_offsets\":[0,8]}}";
    assert_memory_equal(file + 8, header, strlen(header));
    size_t start = 8 + (unsigned char)file[0];
    assert_int_equal(start % 8, 0);
    assert_int_equal(n, start + 24);
    for (size_t i = 8 + strlen(header); i < start; i++) assert_int_equal(file[i], ' ');
    const uint8_t data[] = {
        255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0x80, 0x40, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40};
    assert_memory_equal(file + start, data, sizeof data);
    free(file);
    free(second);
}

static void metadata_takes_its_place_among_the_names(void **state)
{
    (void)state;
    float x = 1;
    StOutput out[] = {{"A", ST_F32, 0, {0}, &x}, {"a", ST_F32, 0, {0}, &x}};
    Err err = {0};
    assert_ok(safetensors_write(test_file, out, 2, &err), &err);
    char *file = read_file(test_file, NULL), *first = strstr(file + 8, "\"A\""), *middle = strstr(file + 8, "\"__meta"),
         *last = strstr(file + 8, "\"a\"");
    assert_true(first && middle && last && first < middle && middle < last);
    free(file);
    Safetensors st;
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    safetensors_close(&st);
    assert_ok(safetensors_write(test_file, NULL, 0, &err), &err);
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    assert_int_equal(st.count, 0);
    safetensors_close(&st);
}

static void reads_back_the_bits_it_wrote(void **state)
{
    (void)state;
    enum { N = 5003 }; // several chunks and a rest
    float *x = malloc(N * sizeof *x), *back = malloc(N * sizeof *x);
    int64_t *y = malloc(N * sizeof *y), *whole = malloc(N * sizeof *y);
    TestRandom random = {7};
    for (size_t i = 0; i < N; i++) {
        uint32_t bits = test_integer(&random, UINT32_MAX);
        memcpy(&x[i], &bits, 4);
        y[i] = (int64_t)((uint64_t)test_integer(&random, UINT32_MAX) << 32 | bits);
    }
    StOutput out[] = {{"x", ST_F32, 2, {1, N}, x}, {"y", ST_I64, 1, {N}, y}};
    Err err = {0};
    Safetensors st;
    assert_ok(safetensors_write(test_file, out, 2, &err), &err);
    assert_ok(safetensors_open(&st, test_file, &err), &err);
    assert_ok(safetensors_read_f32(&st, safetensors_find(&st, "x"), back, N, &err), &err);
    assert_ok(safetensors_read_i64(&st, safetensors_find(&st, "y"), whole, N, &err), &err);
    assert_memory_equal(x, back, N * sizeof *x);
    assert_memory_equal(y, whole, N * sizeof *y);
    safetensors_close(&st);
    free(x), free(back), free(y), free(whole);
}

static void refuses_to_write_what_no_one_could_read(void **state)
{
    (void)state;
    float x = 1;
    static const struct { StOutput out[2]; size_t n; const char *message; } cases[] = {
        {{{"a", ST_F32, 0, {0}, NULL}, {"a", ST_I64, 0, {0}, NULL}}, 2, "two tensors are named \"a\""},
        {{{"__metadata__", ST_F32, 0, {0}, NULL}}, 1, "cannot name a tensor"},
        {{{"\xff", ST_F32, 0, {0}, NULL}}, 1, "cannot name a tensor"},
        {{{"a", ST_F16, 0, {0}, NULL}}, 1, "only F32, BF16, I64 and U8"},
        {{{"a", ST_F32, 9, {1}, NULL}}, 1, "more than 8 dimensions"},
        {{{"a", ST_F32, 2, {SIZE_MAX / 2, 3}, NULL}}, 1, "overflows"},
        {{{"a", ST_F32, 1, {SIZE_MAX / 4}, NULL}, {"b", ST_F32, 1, {SIZE_MAX / 4}, NULL}}, 2, "overflows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = {0};
        assert_input_error(safetensors_write(test_file, cases[i].out, cases[i].n, &err), &err, cases[i].message);
        assert_false(os_is_file(test_file));
    }
    Err err = {0};
    StOutput good = {"a", ST_F32, 0, {0}, &x};
    assert_input_error(safetensors_write("/no/such/folder/x", &good, 1, &err), &err, "/no/such/folder/x");
    if (!os_is_file("/dev/full")) return;
    assert_int_equal(symlink("/dev/full", test_file), 0); // a link, so that a broken writer could not replace the device
    assert_failed_error(safetensors_write(test_file, &good, 1, &err), &err, "No space left on device");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_test_folder, drop_test_folder)
    const struct CMUnitTest tests[] = {
        TEST(reads_what_transformers_wrote),
        TEST(reads_integers_of_another_implementation),
        TEST(writes_the_bytes_that_transformers_writes),
        TEST(python_opens_what_is_written),
        TEST(every_half_and_bfloat_is_exact),
        TEST(converts_every_type_it_knows),
        TEST(a_double_beyond_float_is_refused),
        TEST(a_missing_tensor_is_reported_with_near_names),
        TEST(refuses_headers_that_lie),
        TEST(accepts_unusual_but_valid_files),
        TEST(every_cut_is_refused),
        TEST(every_length_of_header_is_checked),
        TEST(no_changed_byte_of_the_header_does_harm),
        TEST(the_order_given_does_not_change_the_bytes),
        TEST(metadata_takes_its_place_among_the_names),
        TEST(reads_back_the_bits_it_wrote),
        TEST(refuses_to_write_what_no_one_could_read),
    };
    test_file_name = "t.safetensors";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
