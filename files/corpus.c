// SPDX-License-Identifier: MIT
/* corpus.c - reads texts to learn from: the IMDB layout, folders of .txt, one .txt, JSON lines. Owns the order, the labels and
 * the hash of what was read; refuses to know tokens, splits into halves, or what the texts are used for. Start at corpus_read.
 */
#include "files/corpus.h"

#include "files/jsonl.h"
#include "files/unicode.h"

#include <string.h>

void corpus_free(Corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++) {
        mem_free(corpus->items[i].id);
        mem_free(corpus->items[i].text);
    }
    mem_free(corpus->items);
    *corpus = (Corpus){0};
}

// The length goes first, as eight little-endian bytes: "ab","c" and "a","bc" must not hash alike, on any machine.
static uint64_t hash_field(uint64_t hash, const void *bytes, size_t n)
{
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)n >> (8 * i));
    return hash_bytes(hash_bytes(hash, length, sizeof length), bytes, n);
}

static uint64_t hash_item(uint64_t hash, const CorpusItem *item)
{
    char label = item->label == LABEL_POSITIVE ? '+' : item->label == LABEL_NEGATIVE ? '-' : '?';
    hash = hash_field(hash, item->id, strlen(item->id));
    hash = hash_bytes(hash, &label, 1);
    return hash_field(hash, item->text, item->length);
}

int corpus_add(Corpus *corpus, const char *id, const char *text, size_t length, int label, Err *err)
{
    if (corpus->count == corpus->capacity) {
        size_t capacity = corpus->capacity < 64 ? 64 : corpus->capacity + corpus->capacity / 2;
        CorpusItem *grown = mem_resize(err, corpus->items, corpus->count, capacity, sizeof *grown);
        if (!grown) return -1;
        corpus->items = grown;
        corpus->capacity = capacity;
    }
    Text clean = {0};
    if (text_add(&clean, err, "", 0) || utf8_repair(&clean, text, length, &corpus->repaired, err)) {
        text_free(&clean);
        return -1;
    }
    CorpusItem item = {.length = clean.length, .label = label};
    item.id = mem_copy_text(err, id);
    item.text = item.id ? mem_copy_bytes(err, clean.data, clean.length) : NULL; // an exact fit: tens of thousands are kept
    text_free(&clean);
    if (!item.text) {
        mem_free(item.id);
        return -1;
    }
    corpus->hash = hash_item(corpus->hash, &item);
    corpus->items[corpus->count++] = item;
    return 0;
}

size_t corpus_spread(uint32_t *chosen, const Corpus *corpus, const uint32_t *from, size_t n, size_t limit)
{
    enum { LABELS = LABEL_POSITIVE - LABEL_NONE + 1 };
    size_t texts[LABELS] = {0}, share[LABELS], seen[LABELS] = {0}, taken[LABELS] = {0}, labels = 0, count = 0;
    for (size_t i = 0; i < n; i++) texts[corpus->items[from ? from[i] : i].label - LABEL_NONE]++;
    for (size_t l = 0; l < LABELS; l++) labels += texts[l] > 0;
    for (size_t l = 0, before = 0; l < LABELS; before += texts[l++] > 0) {
        share[l] = texts[l];
        if (limit && texts[l] && limit / labels + (before < limit % labels) < texts[l]) share[l] = limit / labels + (before < limit % labels);
        count += share[l];
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t text = from ? from[i] : (uint32_t)i;
        size_t l = (size_t)(corpus->items[text].label - LABEL_NONE), t = taken[l], place = 0;
        if (t == share[l] || seen[l]++ != (size_t)((uint64_t)t * texts[l] / share[l])) continue;
        for (size_t other = 0; other < LABELS; other++) {
            size_t before = t + (other < l);
            place += before < share[other] ? before : share[other];
        }
        chosen[place] = text;
        taken[l]++;
    }
    return count;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && !strcmp(name + n - m, suffix);
}

// HTML line breaks, as the IMDB reviews hold them, become newlines, in place. Returns the new length.
static size_t replace_breaks(char *text, size_t n)
{
    static const char *const breaks[] = {"<br />", "<br/>", "<br>"};
    size_t to = 0;
    for (size_t from = 0; from < n;) {
        size_t skip = 0;
        for (size_t b = 0; text[from] == '<' && b < 3 && !skip; b++) {
            size_t length = strlen(breaks[b]);
            if (length <= n - from && !memcmp(text + from, breaks[b], length)) skip = length;
        }
        text[to++] = skip ? '\n' : text[from];
        from += skip ? skip : 1;
    }
    return to;
}

static int add_file(Corpus *corpus, const char *path, const char *id, int label, Err *err)
{
    Text text = {0};
    int status = os_read_file(&text, path, err);
    if (!status && label != LABEL_NONE) text.length = replace_breaks(text.data, text.length);
    if (!status && !text.length) status = err_input(err, "%s: is empty (expected a text to learn from)", path);
    if (!status) status = corpus_add(corpus, id, text.data, text.length, label, err);
    text_free(&text);
    return status;
}

// Every .txt file of `folder`, in the order of the name's bytes; `prefix` ("pos/") goes before the name in the id. Other files
// (a .feat, what file managers leave) are no texts. Returns how many were added, or -1.
static int add_folder(Corpus *corpus, const char *folder, const char *prefix, int label, size_t *added, Err *err)
{
    OsNames names = {0};
    if (os_list_folder(&names, folder, err)) return -1;
    int status = 0;
    *added = 0;
    for (size_t i = 0; i < names.count && !status; i++) {
        if (!ends_with(names.names[i], ".txt") || names.names[i][0] == '.') continue;
        char *path = os_join(err, folder, names.names[i]);
        Text id = {0};
        status = path ? text_printf(&id, err, "%s%s", prefix, names.names[i]) : -1;
        if (!status) status = add_file(corpus, path, id.data, label, err);
        text_free(&id);
        mem_free(path);
        *added += !status;
    }
    os_names_free(&names);
    return status;
}

// neg/ before pos/: the order of the path bytes.
static int read_labelled(Corpus *corpus, const char *path, const char *negative, const char *positive, Err *err)
{
    static const char *const prefix[] = {"neg/", "pos/"};
    for (int label = LABEL_NEGATIVE; label <= LABEL_POSITIVE; label++) {
        const char *folder = label == LABEL_POSITIVE ? positive : negative;
        size_t added;
        if (!os_is_folder(folder))
            return err_input(err, "%s: has %s but no %s (expected both, as in aclImdb)", path, prefix[!label], prefix[label]);
        if (add_folder(corpus, folder, prefix[label], label, &added, err)) return -1;
        if (!added) return err_input(err, "%s: no .txt files (expected one review a file, as in aclImdb)", folder);
    }
    return 0;
}

static int read_folder(Corpus *corpus, const char *path, Err *err)
{
    char *negative = os_join(err, path, "neg"), *positive = os_join(err, path, "pos"), *train = os_join(err, path, "train");
    int status = -1;
    size_t added = 0;
    if (negative && positive && train) {
        if (os_is_folder(negative) || os_is_folder(positive)) status = read_labelled(corpus, path, negative, positive, err);
        else if (!(status = add_folder(corpus, path, "", LABEL_NONE, &added, err)) && !added)
            status = err_input(err, "%s: no .txt files (expected pos/ and neg/ as in aclImdb%s%s)", path,
                os_is_folder(train) ? "; perhaps you meant " : "", os_is_folder(train) ? train : "");
    }
    mem_free(negative);
    mem_free(positive);
    mem_free(train);
    return status;
}

static int read_label(int *label, const json_t *line, const char *where, Err *err)
{
    const json_t *value = json_object_get(line, "label");
    const char *name = json_string_value(value);
    *label = LABEL_NONE;
    if (!value || json_is_null(value)) return 0;
    if (json_is_integer(value)) {
        json_int_t number = json_integer_value(value);
        if (number == LABEL_NEGATIVE || number == LABEL_POSITIVE) *label = (int)number;
        else return err_input(err, "%s: key \"label\": expected 0, 1, \"neg\" or \"pos\", found %lld", where, (long long)number);
    } else if (name && !strcmp(name, "neg")) *label = LABEL_NEGATIVE;
    else if (name && !strcmp(name, "pos")) *label = LABEL_POSITIVE;
    else if (name) return err_input(err, "%s: key \"label\": expected 0, 1, \"neg\" or \"pos\", found \"%.40s\"", where, name);
    else return err_input(err, "%s: key \"label\": expected 0, 1, \"neg\" or \"pos\", found another type", where);
    return 0;
}

static int add_line(Corpus *corpus, const json_t *line, size_t number, const char *where, Err *err)
{
    const char *text, *given;
    int label;
    if (json_get_text(line, "text", &text, where, err) || json_get_text_or(line, "id", NULL, &given, where, err)) return -1;
    if (!*text) return err_input(err, "%s: key \"text\": is empty (expected a text to learn from)", where);
    if (read_label(&label, line, where, err)) return -1;
    Text id = {0};
    int status = given ? text_puts(&id, err, given) : text_printf(&id, err, "line %zu", number);
    if (!status) status = corpus_add(corpus, id.data, text, strlen(text), label, err);
    text_free(&id);
    return status;
}

static int read_jsonl(Corpus *corpus, const char *path, Err *err)
{
    JsonLines in;
    json_t *line;
    if (jsonl_open(&in, path, err)) return -1;
    size_t before = corpus->count;
    int got;
    while ((got = jsonl_next(&in, &line, err)) == 1) {
        int status = add_line(corpus, line, in.line, in.where, err);
        json_decref(line);
        if (status) {
            got = -1;
            break;
        }
    }
    corpus->repaired += in.repaired;
    jsonl_close(&in);
    if (!got && corpus->count == before) return err_input(err, "%s: no lines (expected JSON objects with \"text\")", path);
    return got;
}

int corpus_read(Corpus *corpus, const char *path, Err *err)
{
    static const char expected[] = "expected a folder with pos/ and neg/ as in aclImdb, one with .txt files, a .txt or a .jsonl";
    if (os_is_folder(path)) return read_folder(corpus, path, err);
    if (!os_is_file(path)) return err_input(err, "%s: does not exist (%s)", path, expected);
    if (ends_with(path, ".jsonl")) return read_jsonl(corpus, path, err);
    if (!ends_with(path, ".txt")) return err_input(err, "%s: of unknown kind (%s)", path, expected);
    const char *name = strrchr(path, '/');
    return add_file(corpus, path, name ? name + 1 : path, LABEL_NONE, err);
}
