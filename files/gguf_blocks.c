// SPDX-License-Identifier: MIT
/* gguf_blocks.c - how ggml stores numbers: one function a tensor type, all in one table. Knows nothing of files.
 *
 * A quantised block holds small whole numbers and, once for all of them, a scale d (and a minimum m) as halves. The products
 * are rounded where ggml's reference code rounds them, so the floats are those of its dequantisation.
 * Format: ggml-quants.c and ggml-common.h of ggml-org/ggml.
 */
#include "files/gguf-internal.h"

#include "files/safetensors.h"

#include <string.h>

static uint16_t word_16(const uint8_t *b) { return (uint16_t)(b[0] | b[1] << 8); }
static uint32_t word_32(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }
static float half_at(const uint8_t *b) { return float_from_half(word_16(b)); }
static int signed_byte(uint8_t b) { return b < 128 ? b : b - 256; }

static void decode_f32(float *out, const uint8_t *b)
{
    uint32_t bits = word_32(b);
    memcpy(out, &bits, sizeof bits);
}

static void decode_f16(float *out, const uint8_t *b) { *out = half_at(b); }
static void decode_bf16(float *out, const uint8_t *b) { *out = float_from_bfloat(word_16(b)); }

// 32 values, the low halves of the bytes first: d, 16 bytes.
static void decode_q4_0(float *out, const uint8_t *b)
{
    float d = half_at(b);
    for (int j = 0; j < 16; j++) {
        out[j] = (float)((b[2 + j] & 15) - 8) * d;
        out[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

// d, m, 16 bytes.
static void decode_q4_1(float *out, const uint8_t *b)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int j = 0; j < 16; j++) {
        out[j] = (float)(b[4 + j] & 15) * d + m;
        out[j + 16] = (float)(b[4 + j] >> 4) * d + m;
    }
}

// The fifth bits stand apart: d, 4 bytes of them, 16 bytes.
static void decode_q5_0(float *out, const uint8_t *b)
{
    float d = half_at(b);
    uint32_t high = word_32(b + 2);
    for (int j = 0; j < 16; j++) {
        out[j] = (float)((b[6 + j] & 15) + (int)((high >> j & 1) << 4) - 16) * d;
        out[j + 16] = (float)((b[6 + j] >> 4) + (int)((high >> (j + 16) & 1) << 4) - 16) * d;
    }
}

static void decode_q5_1(float *out, const uint8_t *b)
{
    float d = half_at(b), m = half_at(b + 2);
    uint32_t high = word_32(b + 4);
    for (int j = 0; j < 16; j++) {
        out[j] = (float)((b[8 + j] & 15) + (int)((high >> j & 1) << 4)) * d + m;
        out[j + 16] = (float)((b[8 + j] >> 4) + (int)((high >> (j + 16) & 1) << 4)) * d + m;
    }
}

static void decode_q8_0(float *out, const uint8_t *b)
{
    float d = half_at(b);
    for (int j = 0; j < 32; j++) out[j] = (float)signed_byte(b[2 + j]) * d;
}

/* 256 values in eight groups of 32: d, m, 12 bytes with eight scales and eight minima of six bits, 128 bytes. The first four of
 * each lie in the low six bits of bytes 0-3 and 4-7; the others are put together from bytes 8-11 and the top bits of the rest. */
static void decode_q4_k(float *out, const uint8_t *b)
{
    float d = half_at(b), m = half_at(b + 2);
    const uint8_t *s = b + 4, *q = b + 16;
    for (int group = 0; group < 8; group++) {
        int low = group - 4;
        int scale = group < 4 ? s[group] & 63 : (s[group + 4] & 15) | s[low] >> 6 << 4;
        int minimum = group < 4 ? s[group + 4] & 63 : s[group + 4] >> 4 | s[group] >> 6 << 4;
        float group_d = d * (float)scale, group_m = m * (float)minimum;
        for (int j = 0; j < 32; j++) {
            uint8_t byte = q[group / 2 * 32 + j];
            out[group * 32 + j] = group_d * (float)(group % 2 ? byte >> 4 : byte & 15) - group_m;
        }
    }
}

// 256 values in sixteen groups of 16: 128 bytes of low halves, 64 bytes of two high bits each, 16 signed scales, d.
static void decode_q6_k(float *out, const uint8_t *b)
{
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half, *scale = b + 192 + 8 * half;
        for (int part = 0; part < 4; part++)
            for (int j = 0; j < 32; j++) {
                uint8_t byte = low[j + 32 * (part & 1)];
                int value = (part < 2 ? byte & 15 : byte >> 4) | (high[j] >> (2 * part) & 3) << 4;
                out[128 * half + 32 * part + j] = d * (float)signed_byte(scale[2 * part + j / 16]) * (float)(value - 32);
            }
    }
}

static const GgufBlock blocks[] = {
    [0] = {"F32", 1, 4, decode_f32},      [1] = {"F16", 1, 2, decode_f16},      [2] = {"Q4_0", 32, 18, decode_q4_0},
    [3] = {"Q4_1", 32, 20, decode_q4_1},  [6] = {"Q5_0", 32, 22, decode_q5_0},  [7] = {"Q5_1", 32, 24, decode_q5_1},
    [8] = {"Q8_0", 32, 34, decode_q8_0},  [9] = {"Q8_1", 32, 36, NULL},         [10] = {"Q2_K", 256, 84, NULL},
    [11] = {"Q3_K", 256, 110, NULL},      [12] = {"Q4_K", 256, 144, decode_q4_k}, [13] = {"Q5_K", 256, 176, NULL},
    [14] = {"Q6_K", 256, 210, decode_q6_k}, [15] = {"Q8_K", 256, 292, NULL},    [16] = {"IQ2_XXS", 256, 66, NULL},
    [17] = {"IQ2_XS", 256, 74, NULL},     [18] = {"IQ3_XXS", 256, 98, NULL},    [19] = {"IQ1_S", 256, 50, NULL},
    [20] = {"IQ4_NL", 32, 18, NULL},      [21] = {"IQ3_S", 256, 110, NULL},     [22] = {"IQ2_S", 256, 82, NULL},
    [23] = {"IQ4_XS", 256, 136, NULL},    [24] = {"I8", 1, 1, NULL},            [25] = {"I16", 1, 2, NULL},
    [26] = {"I32", 1, 4, NULL},           [27] = {"I64", 1, 8, NULL},           [28] = {"F64", 1, 8, NULL},
    [29] = {"IQ1_M", 256, 56, NULL},      [30] = {"BF16", 1, 2, decode_bf16},   [34] = {"TQ1_0", 256, 54, NULL},
    [35] = {"TQ2_0", 256, 66, NULL},      [39] = {"MXFP4", 32, 17, NULL},
};
const char gguf_known_types[] = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K";

const GgufBlock *gguf_block(uint32_t type)
{
    return type < sizeof blocks / sizeof *blocks && blocks[type].name ? blocks + type : NULL;
}
