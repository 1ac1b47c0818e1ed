// SPDX-License-Identifier: MIT
/* tokenizer_import.c - the vocabularies inside GGUF files and llama2.c's tokenizer.bin, as parts of a tokenizer. The reader of
 * GGUF files is files/gguf.c; here is what its arrays mean. */
#include "tokenizer_build.h"
#include "tokenizer-internal.h"

#include "base/os.h"

#include <stdlib.h>

// ---- GGUF ------------------------------------------------------------------------------------------------------------------

enum { GGUF_NORMAL = 1, GGUF_UNKNOWN, GGUF_CONTROL, GGUF_USER_DEFINED, GGUF_UNUSED, GGUF_BYTE };

static const SplitSpec *find_pre(const char *pre)
{
    for (size_t i = 0; i < split_count; i++)
        for (size_t k = 0; k < sizeof split_table[i].pre / sizeof *split_table[i].pre; k++)
            if (split_table[i].pre[k] && !strcmp(split_table[i].pre[k], pre)) return &split_table[i];
    return NULL;
}

static int choose_split(TokenizerParts *parts, const GgufVocabulary *v, const char *where, Err *err)
{
    if (!strcmp(v->model, "llama")) {
        if (!v->add_space_prefix)
            return err_input(err, "%s: tokenizer.ggml.add_space_prefix false is not supported with a \"llama\" tokenizer", where);
        if (!v->scores) return err_input(err, "%s: a \"llama\" tokenizer without tokenizer.ggml.scores", where);
        parts->split = SPLIT_SENTENCEPIECE;
        parts->scores = v->scores;
        return 0;
    }
    if (strcmp(v->model, "gpt2"))
        return err_input(err, "%s: tokenizer.ggml.model \"%s\" is not supported (gpt2, llama)", where, v->model);
    const SplitSpec *spec = v->pre ? find_pre(v->pre) : NULL;
    if (!spec)
        return err_input(err, "%s: tokenizer.ggml.pre %s%s%s is not supported (gpt-2, smollm, llama-bpe, qwen2)", where,
            v->pre ? "\"" : "", v->pre ? v->pre : "absent", v->pre ? "\"" : "");
    parts->split = spec->split;
    parts->ignore_merges = spec->ignore_merges;
    return 0;
}

static int choose_types(bool *special, bool *plain, const GgufVocabulary *v, const char *where, Err *err)
{
    for (size_t i = 0; i < v->vocab; i++) {
        int32_t type = v->types ? v->types[i] : GGUF_NORMAL;
        if (type < GGUF_NORMAL || type > GGUF_BYTE)
            return err_input(err, "%s: tokenizer.ggml.token_type[%zu] is %ld: expected 1 to 6", where, i, (long)type);
        plain[i] = type == GGUF_USER_DEFINED || type == GGUF_UNUSED;
        special[i] = plain[i] || type == GGUF_CONTROL || type == GGUF_UNKNOWN;
    }
    return 0;
}

static int split_merges(TokenizerMerge *merges, const GgufVocabulary *v, const char *where, Err *err)
{
    for (size_t i = 0; i < v->merge_count; i++) {
        TextView text = v->merges[i];
        const char *space = text.length ? memchr(text.bytes, ' ', text.length) : NULL;
        size_t left = space ? (size_t)(space - text.bytes) : 0;
        if (!left || left + 1 == text.length || memchr(space + 1, ' ', text.length - left - 1))
            return err_input(err, "%s: tokenizer.ggml.merges[%zu], \"%.*s\": expected \"left right\"", where, i, (int)text.length,
                text.bytes);
        merges[i] = (TokenizerMerge){{text.bytes, left}, {space + 1, text.length - left - 1}};
    }
    return 0;
}

int tokenizer_from_gguf(Tokenizer *tk, const GgufVocabulary *v, const char *where, Err *err)
{
    TokenizerParts parts = {.vocab = v->vocab, .tokens = v->tokens, .put_first = v->add_bos, .first = (uint32_t)v->bos};
    *tk = (Tokenizer){0};
    if (v->add_bos && (v->bos < 0 || (uint64_t)v->bos >= v->vocab))
        return err_input(err, "%s: tokenizer.ggml.add_bos_token, but bos_token_id is not one of %zu tokens", where, v->vocab);
    if (choose_split(&parts, v, where, err)) return -1;
    bool *special = mem_new(err, v->vocab, sizeof *special), *plain = mem_new(err, v->vocab, sizeof *plain);
    bool scored = parts.scores != NULL;
    TokenizerMerge *merges = scored ? NULL : mem_new(err, v->merge_count, sizeof *merges);
    parts.special = special, parts.plain = plain, parts.merges = merges;
    parts.merge_count = scored ? 0 : v->merge_count;
    int status = !special || !plain || (!scored && !merges) || choose_types(special, plain, v, where, err)
        || (!scored && split_merges(merges, v, where, err)) || tokenizer_build(tk, &parts, where, err) ? -1 : 0;
    mem_free(special);
    mem_free(plain);
    mem_free(merges);
    return status;
}

// ---- llama2.c --------------------------------------------------------------------------------------------------------------

/* int32 longest, then for each token float score, int32 length, its bytes; little-endian. Spaces stand for themselves, bytes are
 * spelled <0xNN>, and the second and third token are "\n<s>\n" and "\n</s>\n" in files made from SentencePiece models. */
typedef struct { const uint8_t *data; size_t size, at; } Bytes;

static uint32_t read_u32(Bytes *in)
{
    const uint8_t *p = in->data + in->at;
    in->at += 4;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// The next token; false at something that is none.
static bool read_scored_token(Bytes *in, TextView *token, float *score)
{
    if (in->size - in->at < 8) return false;
    uint32_t bits = read_u32(in), length = read_u32(in);
    memcpy(score, &bits, sizeof *score);
    if (length > in->size - in->at) return false;
    *token = (TextView){(const char *)in->data + in->at, length};
    in->at += length;
    return true;
}

static int read_scored_tokens(TextView *tokens, float *scores, size_t *count, Bytes in, const char *path, Err *err)
{
    uint32_t longest = read_u32(&in);
    for (*count = 0; in.at < in.size; ++*count) {
        TextView token;
        float score;
        size_t at = in.at;
        if (!read_scored_token(&in, &token, &score) || token.length > longest)
            return err_input(err, "%s: token %zu, at byte %zu: not a score, a length of at most %lu and as many bytes", path, *count, at,
                (unsigned long)longest);
        if (tokens) tokens[*count] = token, scores[*count] = score;
    }
    return 0;
}

static void restore_names(TextView *tokens, bool *special, size_t count)
{
    static const char *const names[3][2] = {{"<unk>", "<unk>"}, {"\n<s>\n", "<s>"}, {"\n</s>\n", "</s>"}};
    for (size_t i = 0; i < 3 && i < count; i++) {
        size_t length = strlen(names[i][0]);
        if (tokens[i].length == length && !memcmp(tokens[i].bytes, names[i][0], length))
            tokens[i] = (TextView){names[i][1], strlen(names[i][1])};
        special[i] = tokens[i].length == strlen(names[i][1]) && !memcmp(tokens[i].bytes, names[i][1], tokens[i].length);
    }
}

int tokenizer_load_llama2c(Tokenizer *tk, const char *path, Err *err)
{
    OsMap map;
    size_t count = 0;
    *tk = (Tokenizer){0};
    if (os_map_file(&map, path, err)) return -1;
    Bytes in = {map.data, map.size, 0};
    int status = map.size < 4 ? err_input(err, "%s: %zu bytes are no tokenizer.bin", path, map.size) : 0;
    if (!status) status = read_scored_tokens(NULL, NULL, &count, in, path, err);
    TextView *tokens = status ? NULL : mem_new(err, count, sizeof *tokens);
    float *scores = tokens ? mem_new(err, count, sizeof *scores) : NULL;
    bool *special = scores ? mem_new(err, count, sizeof *special) : NULL;
    if (special) {
        (void)read_scored_tokens(tokens, scores, &count, in, path, err);
        restore_names(tokens, special, count);
        TokenizerParts parts = {.vocab = count, .tokens = tokens, .special = special, .split = SPLIT_SENTENCEPIECE, .scores = scores,
            .put_first = count > 1 && special[1], .first = 1};
        status = tokenizer_build(tk, &parts, path, err);
    } else status = -1;
    mem_free(tokens);
    mem_free(scores);
    mem_free(special);
    os_unmap(&map);
    return status;
}
