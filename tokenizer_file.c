// SPDX-License-Identifier: MIT
/* tokenizer_file.c - the tokenizer.json of Hugging Face tokenizers, read and written.
 *
 * Start at tokenizer_load. What this tokenizer does not do (normalizers, dropout, other models...) is refused by name: ids that
 * differ from those of the file's author would spoil everything built on them, silently.
 */
#include "tokenizer_build.h"
#include "tokenizer-internal.h"

#include "files/jsonl.h"
#include "files/unicode.h"

#include <stdio.h>

// ---- reading -------------------------------------------------------------------------------------------------

// What is read before tokens have bytes; views point into the document.
typedef struct {
    const char *path;
    TokenizerParts parts;
    TextView *tokens;
    bool *special, *plain;
    TokenizerMerge *merges;
    bool normalized;
    const char *first; // the token before every text, NULL: none
} Reading;

static int refuse(const char *path, const char *key, const char *expected, const json_t *found, Err *err)
{
    Text text = {0};
    if (found && json_write(&text, found, err)) return -1;
    err_input(err, "%s: key \"%s\": expected %s, found %.80s%s", path, key, expected, found ? text.data : "nothing",
        text.length > 80 ? "..." : "");
    text_free(&text);
    return -1;
}

// Settings that change the ids or add tokens, and that this tokenizer does not have: absent, null, false, 0 or "".
static int expect_unset(const json_t *object, const char *prefix, const char *const *keys, const char *path, Err *err)
{
    for (; *keys; keys++) {
        const json_t *value = json_object_get(object, *keys);
        bool unset = !value || json_is_null(value) || json_is_false(value)
            || (json_is_number(value) && json_number_value(value) == 0) || (json_is_string(value) && !json_string_length(value));
        char key[64];
        snprintf(key, sizeof key, "%s%s", prefix, *keys);
        if (!unset) return refuse(path, key, "null (this setting is not supported)", value, err);
    }
    return 0;
}

static bool has_type(const json_t *object, const char *type)
{
    const json_t *value = json_object_get(object, "type");
    return json_is_string(value) && !strcmp(json_string_value(value), type);
}

static bool text_is(const json_t *object, const char *key, const char *expected)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) && !strcmp(json_string_value(value), expected);
}

static bool is_byte_level(const json_t *value, bool use_regex)
{
    const json_t *regex = json_object_get(value, "use_regex");
    return has_type(value, "ByteLevel") && json_is_false(json_object_get(value, "add_prefix_space"))
        && (regex ? json_is_true(regex) == use_regex : use_regex);
}

// A "Split" by one of the known patterns.
static const SplitSpec *known_split(const json_t *value)
{
    const json_t *pattern = json_object_get(value, "pattern");
    if (!has_type(value, "Split") || !text_is(value, "behavior", "Isolated") || json_is_true(json_object_get(value, "invert")))
        return NULL;
    for (size_t i = 0; i < split_count; i++)
        if (split_table[i].regex && text_is(pattern, "Regex", split_table[i].regex)) return &split_table[i];
    return NULL;
}

// ByteLevel with its own pattern, alone or after Digits, or without it after one of the other patterns.
static int read_pre_tokenizer(Reading *r, const json_t *document, Err *err)
{
    const json_t *value = json_object_get(document, "pre_tokenizer"), *list = json_object_get(value, "pretokenizers");
    size_t count = json_array_size(list);
    bool sequence = has_type(value, "Sequence") && (count == 1 || count == 2);
    const json_t *last = sequence ? json_array_get(list, count - 1) : value;
    const json_t *before = sequence && count == 2 ? json_array_get(list, 0) : NULL;
    const SplitSpec *spec = known_split(before);
    if (spec && is_byte_level(last, false)) {
        r->parts.split = spec->split;
        return 0;
    }
    if (has_type(before, "Split") && !spec)
        return refuse(r->path, "pre_tokenizer.pretokenizers[0]", "type \"Split\", Isolated, by the pattern of GPT-2, Llama 3 or Qwen 2",
            before, err);
    if (before && !(has_type(before, "Digits") && json_is_true(json_object_get(before, "individual_digits"))))
        return refuse(r->path, "pre_tokenizer.pretokenizers[0]", "type \"Digits\" with individual_digits true", before, err);
    r->parts.split = before ? SPLIT_DIGITS : SPLIT_GPT2;
    if (is_byte_level(last, true)) return 0;
    return refuse(r->path, "pre_tokenizer", "type \"ByteLevel\" with add_prefix_space false and use_regex true, alone or in a "
        "Sequence after \"Digits\", or \"Split\" by a known pattern and \"ByteLevel\" with use_regex false", value, err);
}

// What SentencePiece vocabularies have instead: normalizer Prepend U+2581, Replace " " by U+2581; no pre-tokenizer; a decoder that
// undoes it.
static int check_sentencepiece(Reading *r, const json_t *document, Err *err)
{
    const json_t *normalizer = json_object_get(document, "normalizer"), *list = json_object_get(normalizer, "normalizers");
    const json_t *prepend = json_array_get(list, 0), *replace = json_array_get(list, 1), *pre = json_object_get(document, "pre_tokenizer");
    const json_t *decoder = json_object_get(document, "decoder");
    bool known = has_type(normalizer, "Sequence") && json_array_size(list) == 2 && has_type(prepend, "Prepend")
        && text_is(prepend, "prepend", SPACE_LETTER) && has_type(replace, "Replace")
        && text_is(json_object_get(replace, "pattern"), "String", " ") && text_is(replace, "content", SPACE_LETTER);
    r->parts.split = SPLIT_SENTENCEPIECE;
    if (!known)
        return refuse(r->path, "normalizer", "with byte_fallback: a Sequence of Prepend \"" SPACE_LETTER "\" and Replace \" \" by \""
            SPACE_LETTER "\"", normalizer, err);
    if (pre && !json_is_null(pre)) return refuse(r->path, "pre_tokenizer", "null (with byte_fallback)", pre, err);
    return has_type(decoder, "Sequence") ? 0 : refuse(r->path, "decoder", "type \"Sequence\" (with byte_fallback)", decoder, err);
}

static int check_byte_level(Reading *r, const json_t *document, Err *err)
{
    static const char *const unset[] = {"normalizer", NULL};
    const json_t *decoder = json_object_get(document, "decoder");
    if (expect_unset(document, "", unset, r->path, err)) return -1;
    if (!has_type(decoder, "ByteLevel")) return refuse(r->path, "decoder", "type \"ByteLevel\"", decoder, err);
    return read_pre_tokenizer(r, document, err);
}

// The token put before every text, by name: `single` is [SpecialToken, Sequence A]. NULL when there is none; false when it is more.
static bool read_template(const json_t *post, const char **first)
{
    const json_t *single = json_object_get(post, "single"), *token = json_object_get(json_array_get(single, 0), "SpecialToken");
    size_t count = json_array_size(single);
    *first = json_string_value(json_object_get(token, "id"));
    const json_t *sequence = json_object_get(json_array_get(single, count ? count - 1 : 0), "Sequence");
    return text_is(sequence, "id", "A") && count == (*first ? 2u : 1u);
}

// null, ByteLevel (which changes offsets only), TemplateProcessing with one token first, or both in a Sequence.
static int read_post_processor(Reading *r, const json_t *document, Err *err)
{
    const json_t *post = json_object_get(document, "post_processor"), *list = json_object_get(post, "processors");
    bool sequence = has_type(post, "Sequence"), known = true;
    for (size_t i = 0; i < (sequence ? json_array_size(list) : 1); i++) {
        const json_t *one = sequence ? json_array_get(list, i) : post;
        if (!one || json_is_null(one) || has_type(one, "ByteLevel")) continue;
        known = known && !r->first && has_type(one, "TemplateProcessing") && read_template(one, &r->first);
    }
    return known ? 0 : refuse(r->path, "post_processor", "null, type \"ByteLevel\", or \"TemplateProcessing\" with one token before the "
        "text", post, err);
}

static int check_settings(Reading *r, const json_t *document, const json_t *model, Err *err)
{
    static const char *const outer[] = {"truncation", "padding", NULL};
    // unk_token and fuse_unk matter only for bytes without a token, which are an error here.
    static const char *const inner[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", NULL};
    bool fallback;
    if (!has_type(model, "BPE")) return refuse(r->path, "model.type", "\"BPE\"", json_object_get(model, "type"), err);
    if (expect_unset(document, "", outer, r->path, err) || expect_unset(model, "model.", inner, r->path, err)
        || json_get_bool_or(model, "byte_fallback", false, &fallback, r->path, err)
        || json_get_bool_or(model, "ignore_merges", false, &r->parts.ignore_merges, r->path, err))
        return -1;
    if (fallback ? check_sentencepiece(r, document, err) : check_byte_level(r, document, err)) return -1;
    return read_post_processor(r, document, err);
}

static int place_token(Reading *r, const char *text, size_t id, const char *key, Err *err)
{
    if (id >= r->parts.vocab)
        return err_input(err, "%s: key \"%s\": \"%s\" has id %zu, but there are %zu tokens: ids must be dense", r->path, key, text,
            id, r->parts.vocab);
    if (r->tokens[id].bytes)
        return err_input(err, "%s: key \"%s\": \"%s\" and \"%s\" both have id %zu", r->path, key, r->tokens[id].bytes, text, id);
    r->tokens[id] = (TextView){text, strlen(text)};
    return 0;
}

static int read_vocab(Reading *r, json_t *vocab, Err *err)
{
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at)) {
        size_t id;
        if (json_get_size(vocab, json_object_iter_key(at), &id, r->path, err)) return err_prefix(err, "model.vocab");
        if (place_token(r, json_object_iter_key(at), id, "model.vocab", err)) return -1;
    }
    return 0;
}

// An added token may be in the vocabulary, with the same id, or follow it.
static int read_added(Reading *r, const json_t *token, const json_t *vocab, size_t index, Err *err)
{
    static const char *const unset[] = {"single_word", "lstrip", "rstrip", NULL};
    char key[48];
    const char *text;
    size_t id;
    bool normalized, special;
    snprintf(key, sizeof key, "added_tokens[%zu]", index);
    if (json_get_text(token, "content", &text, r->path, err) || json_get_size(token, "id", &id, r->path, err)
        || json_get_bool_or(token, "normalized", false, &normalized, r->path, err)
        || json_get_bool_or(token, "special", false, &special, r->path, err) || expect_unset(token, "", unset, r->path, err))
        return err_prefix(err, "%s", key);
    const json_t *known = json_object_get(vocab, text);
    if (known && (json_int_t)id != json_integer_value(known))
        return err_input(err, "%s: key \"%s\": \"%s\" has id %zu here and %" JSON_INTEGER_FORMAT " in model.vocab", r->path, key,
            text, id, json_integer_value(known));
    if (!known && place_token(r, text, id, key, err)) return -1;
    // Tokenizers matches those with normalized false first, then the others: with both kinds, leftmost would not be the rule.
    if (index && normalized != r->normalized)
        return refuse(r->path, key, "the same \"normalized\" for all added tokens", token, err);
    if (r->special[id]) return err_input(err, "%s: key \"%s\": \"%s\" is there twice", r->path, key, text);
    if (normalized && r->parts.split == SPLIT_SENTENCEPIECE)
        return refuse(r->path, key, "\"normalized\": false (with byte_fallback)", token, err);
    r->normalized = normalized;
    r->special[id] = true;
    r->plain[id] = !special;
    if (r->first && !strcmp(text, r->first)) r->parts.put_first = true, r->parts.first = (uint32_t)id;
    return 0;
}

static int read_tokens(Reading *r, const json_t *document, json_t *vocab, Err *err)
{
    const json_t *added = json_object_get(document, "added_tokens");
    if (added && !json_is_null(added) && !json_is_array(added)) return refuse(r->path, "added_tokens", "an array", added, err);
    r->parts.vocab = json_object_size(vocab);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *text = json_object_get(json_array_get(added, i), "content");
        r->parts.vocab += json_is_string(text) && !json_object_get(vocab, json_string_value(text));
    }
    r->parts.tokens = r->tokens = mem_new(err, r->parts.vocab, sizeof *r->tokens);
    r->parts.special = r->special = r->tokens ? mem_new(err, r->parts.vocab, sizeof *r->special) : NULL;
    r->parts.plain = r->plain = r->special ? mem_new(err, r->parts.vocab, sizeof *r->plain) : NULL;
    if (!r->plain || read_vocab(r, vocab, err)) return -1;
    for (size_t i = 0; i < json_array_size(added); i++)
        if (read_added(r, json_array_get(added, i), vocab, i, err)) return -1;
    if (r->first && !r->parts.put_first)
        return err_input(err, "%s: key \"post_processor\": \"%s\" is none of the added tokens", r->path, r->first);
    return 0;
}

// "a b", or ["a", "b"] as newer files have it. A space is never part of a half: it is spelled U+0120.
static bool read_merge(TokenizerMerge *merge, const json_t *value)
{
    const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
    if (json_array_size(value) == 2 && json_is_string(left) && json_is_string(right)) {
        merge->left = (TextView){json_string_value(left), json_string_length(left)};
        merge->right = (TextView){json_string_value(right), json_string_length(right)};
        return true;
    }
    const char *text = json_string_value(value), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ') || strlen(text) != json_string_length(value)) return false;
    merge->left = (TextView){text, (size_t)(space - text)};
    merge->right = (TextView){space + 1, strlen(space + 1)};
    return true;
}

static int read_merges(Reading *r, const json_t *list, Err *err)
{
    if (!json_is_array(list)) return refuse(r->path, "model.merges", "an array", list, err);
    r->parts.merge_count = json_array_size(list);
    r->parts.merges = r->merges = mem_new(err, r->parts.merge_count, sizeof *r->merges);
    if (!r->merges) return -1;
    for (size_t i = 0; i < r->parts.merge_count; i++) {
        char key[48];
        snprintf(key, sizeof key, "model.merges[%zu]", i);
        if (!read_merge(&r->merges[i], json_array_get(list, i)))
            return refuse(r->path, key, "\"left right\" or [\"left\", \"right\"]", json_array_get(list, i), err);
    }
    return 0;
}

int tokenizer_load(Tokenizer *tk, const char *path, Err *err)
{
    *tk = (Tokenizer){0};
    json_t *document = json_load_document(path, err);
    if (!document) return -1;
    Reading r = {.path = path};
    const json_t *model = json_object_get(document, "model");
    json_t *vocab = json_object_get(model, "vocab");
    int status = check_settings(&r, document, model, err);
    if (!status && !json_is_object(vocab)) status = refuse(path, "model.vocab", "an object", vocab, err);
    status = status || read_tokens(&r, document, vocab, err) || read_merges(&r, json_object_get(model, "merges"), err)
        || tokenizer_build(tk, &r.parts, path, err) ? -1 : 0;
    if (!status) tk->tables->normalized = r.normalized;
    mem_free(r.tokens);
    mem_free(r.special);
    mem_free(r.plain);
    mem_free(r.merges);
    json_decref(document);
    return status;
}

// ---- writing -------------------------------------------------------------------------------------------------

#define BYTE_LEVEL(indent, prefix_space, use_regex) \
    indent "\"type\": \"ByteLevel\",\n" indent "\"add_prefix_space\": " prefix_space ",\n" indent "\"trim_offsets\": true,\n" \
    indent "\"use_regex\": " use_regex "\n"

static int write_token(Text *out, const Tokenizer *tk, size_t id, Err *err)
{
    TextView token = tk->tokens[id];
    if (tk->special[id]) return json_write_string(out, token.bytes, token.length, err);
    Text spelled = {0};
    int status = 0;
    bool sentencepiece = tk->split == SPLIT_SENTENCEPIECE;
    if (sentencepiece && token.length == 1 && tk->tables->byte_ids[(unsigned char)*token.bytes] == id)
        return text_printf(out, err, "\"<0x%02X>\"", (unsigned)(unsigned char)*token.bytes);
    for (size_t i = 0; i < token.length && !status; i++) {
        char letter[4];
        if (sentencepiece && token.bytes[i] == ' ') status = text_puts(&spelled, err, SPACE_LETTER);
        else if (sentencepiece) status = text_add(&spelled, err, token.bytes + i, 1);
        else status = text_add(&spelled, err, letter, utf8_put(letter, byte_to_letter((unsigned char)token.bytes[i])));
    }
    if (!status) status = json_write_string(out, spelled.data, spelled.length, err);
    text_free(&spelled);
    return status;
}

static int write_added(Text *out, const Tokenizer *tk, Err *err)
{
    const char *before = "", *normalized = tk->tables->normalized ? "true" : "false";
    int status = text_puts(out, err, "  \"added_tokens\": [");
    for (size_t i = 0; i < tk->vocab && !status; i++) {
        if (!tk->special[i]) continue;
        status = text_printf(out, err, "%s\n    {\n      \"id\": %zu,\n      \"content\": ", before, i)
            || write_token(out, tk, i, err)
            || text_printf(out, err, ",\n      \"single_word\": false,\n      \"lstrip\": false,\n      \"rstrip\": false,\n"
               "      \"normalized\": %s,\n      \"special\": %s\n    }", normalized, tk->tables->plain[i] ? "false" : "true");
        before = ",";
    }
    return status || text_puts(out, err, *before ? "\n  ],\n" : "],\n") ? -1 : 0;
}

static int write_merge(Text *out, const Tokenizer *tk, const Merge *merge, Err *err)
{
    return text_puts(out, err, "\n      [\n        ") || write_token(out, tk, merge->left, err)
        || text_puts(out, err, ",\n        ") || write_token(out, tk, merge->right, err) || text_puts(out, err, "\n      ]");
}

static int write_model(Text *out, const Tokenizer *tk, Err *err)
{
    const TokenizerTables *t = tk->tables;
    bool fallback = tk->split == SPLIT_SENTENCEPIECE;
    int status = text_printf(out, err, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
        "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
        "    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n    \"vocab\": {", fallback ? "true" : "false",
        t->ignore_merges ? "true" : "false");
    for (size_t i = 0; i < tk->vocab && !status; i++)
        status = text_puts(out, err, i ? ",\n      " : "\n      ") || write_token(out, tk, i, err)
            || text_printf(out, err, ": %zu", i);
    if (!status) status = text_puts(out, err, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < t->merge_count && !status; i++)
        status = text_puts(out, err, i ? "," : "") || write_merge(out, tk, &t->merges[i], err);
    return status || text_puts(out, err, t->merge_count ? "\n    ]\n  }\n}" : "]\n  }\n}") ? -1 : 0;
}

// The normalizer and the pre-tokenizer, each as the library itself writes it.
static int write_split(Text *out, const Tokenizer *tk, Err *err)
{
    static const char *const gpt2 = "  \"normalizer\": null,\n  \"pre_tokenizer\": {\n" BYTE_LEVEL("    ", "false", "true") "  },\n";
    static const char *const sequence = "  \"normalizer\": null,\n  \"pre_tokenizer\": {\n    \"type\": \"Sequence\",\n"
        "    \"pretokenizers\": [\n";
    static const char *const digits = "      {\n        \"type\": \"Digits\",\n        \"individual_digits\": true\n      },\n";
    static const char *const sentencepiece = "  \"normalizer\": {\n    \"type\": \"Sequence\",\n    \"normalizers\": [\n      {\n"
        "        \"type\": \"Prepend\",\n        \"prepend\": \"" SPACE_LETTER "\"\n      },\n      {\n        \"type\": \"Replace\",\n"
        "        \"pattern\": {\n          \"String\": \" \"\n        },\n        \"content\": \"" SPACE_LETTER "\"\n      }\n    ]\n  },\n"
        "  \"pre_tokenizer\": null,\n";
    if (tk->split == SPLIT_GPT2) return text_puts(out, err, gpt2);
    if (tk->split == SPLIT_SENTENCEPIECE) return text_puts(out, err, sentencepiece);
    int status = text_puts(out, err, sequence);
    if (tk->split == SPLIT_DIGITS) status = status || text_puts(out, err, digits);
    for (size_t i = 0; i < split_count; i++)
        if (tk->split != SPLIT_DIGITS && split_table[i].split == tk->split)
            status = status
                || text_puts(out, err, "      {\n        \"type\": \"Split\",\n        \"pattern\": {\n          \"Regex\": ")
                || json_write_string(out, split_table[i].regex, strlen(split_table[i].regex), err)
                || text_puts(out, err, "\n        },\n        \"behavior\": \"Isolated\",\n        \"invert\": false\n      },\n");
    return status || text_puts(out, err, tk->split == SPLIT_DIGITS
        ? "      {\n" BYTE_LEVEL("        ", "false", "true") "      }\n    ]\n  },\n"
        : "      {\n" BYTE_LEVEL("        ", "false", "false") "      }\n    ]\n  },\n") ? -1 : 0;
}

static int write_post_processor(Text *out, const Tokenizer *tk, Err *err)
{
    static const char *const single =
        "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n    \"single\": [\n      {\n        \"SpecialToken\": {\n"
        "          \"id\": %s,\n          \"type_id\": 0\n        }\n      },\n      {\n        \"Sequence\": {\n          \"id\": \"A\",\n"
        "          \"type_id\": 0\n        }\n      }\n    ],\n";
    static const char *const pair =
        "    \"pair\": [\n      {\n        \"Sequence\": {\n          \"id\": \"A\",\n          \"type_id\": 0\n        }\n      },\n"
        "      {\n        \"Sequence\": {\n          \"id\": \"B\",\n          \"type_id\": 1\n        }\n      }\n    ],\n";
    static const char *const token =
        "    \"special_tokens\": {\n      %s: {\n        \"id\": %s,\n        \"ids\": [\n          %lld\n        ],\n"
        "        \"tokens\": [\n          %s\n        ]\n      }\n    }\n  },\n";
    if (tk->first < 0) return text_puts(out, err, "  \"post_processor\": null,\n");
    Text name = {0};
    int status = write_token(&name, tk, (size_t)tk->first, err) || text_printf(out, err, single, name.data)
        || text_puts(out, err, pair) || text_printf(out, err, token, name.data, name.data, (long long)tk->first, name.data) ? -1 : 0;
    text_free(&name);
    return status;
}

static int write_decoder(Text *out, const Tokenizer *tk, Err *err)
{
    static const char *const sentencepiece =
        "  \"decoder\": {\n    \"type\": \"Sequence\",\n    \"decoders\": [\n      {\n        \"type\": \"Replace\",\n"
        "        \"pattern\": {\n          \"String\": \"" SPACE_LETTER "\"\n        },\n        \"content\": \" \"\n      },\n"
        "      {\n        \"type\": \"ByteFallback\"\n      },\n      {\n        \"type\": \"Fuse\"\n      },\n"
        "      {\n        \"type\": \"Strip\",\n        \"content\": \" \",\n        \"start\": 1,\n        \"stop\": 0\n      }\n    ]\n  },\n";
    static const char *const byte_level = "  \"decoder\": {\n" BYTE_LEVEL("    ", "true", "true") "  },\n";
    return text_puts(out, err, tk->split == SPLIT_SENTENCEPIECE ? sentencepiece : byte_level);
}

int tokenizer_save(const Tokenizer *tk, const char *path, Err *err)
{
    Text out = {0};
    int status = text_puts(&out, err, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n")
        || write_added(&out, tk, err) || write_split(&out, tk, err) || write_post_processor(&out, tk, err)
        || write_decoder(&out, tk, err) || write_model(&out, tk, err) || os_write_file(path, out.data, out.length, err) ? -1 : 0;
    text_free(&out);
    return status;
}
