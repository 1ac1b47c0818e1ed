// SPDX-License-Identifier: MIT
/* policy.c - a language model as RAFT's Generator: its answers, those of other experts, and learning from what was chosen.
 *
 * Knows tokens and models; knows no rewards and no ranking. Start reading at policy_collect and policy_finetune.
 */
#include "policy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "files/checkpoint.h"
#include "files/jsonl.h"
#include "kernels/philox.h"

typedef struct { size_t prompt; TokenList tokens; } ExpertAnswer;

struct Expert {
    const char *name, *called; // where it is; what candidates call it
    bool is_model;
    Model model;           // a checkpoint
    ExpertAnswer *answers; // a file: [count] by prompt, in the order of the lines
    size_t count, capacity;
    size_t *first;         // [prompts + 1] each prompt's first answer
};

// ---- prompts -----------------------------------------------------------------------------------------------------------------

int policy_tokenize_prompts(PromptList *prompts, const Tokenizer *tokenizer, size_t context, size_t max_new, Err *err)
{
    for (size_t i = 0; i < prompts->count; i++) {
        Prompt *p = prompts->items + i;
        if (!p->ids.length && tokenizer_encode_prompt(tokenizer, &p->ids, p->text, p->text_length, err)) return -1;
        if (!p->ids.length) return err_input(err, "prompt \"%s\" is empty: it needs at least one token", p->id);
        for (size_t j = 0; j < p->ids.length; j++)
            if (p->ids.ids[j] >= tokenizer->vocab)
                return err_input(err, "prompt \"%s\": token %zu is id %u, outside the tokenizer's vocabulary of %zu", p->id, j,
                    (unsigned)p->ids.ids[j], tokenizer->vocab);
        if (p->ids.length > context || max_new > context - p->ids.length)
            return err_input(err, "prompt \"%s\" has %zu tokens: with --max-new %zu it does not fit the model's context of %zu",
                p->id, p->ids.length, max_new, context);
    }
    return 0;
}

// ---- experts that are files: which prompt a line answers ------------------------------------------------------------------------

typedef struct { const char *bytes; size_t length, prompt; } Key;

static int compare_keys(const Key *a, const Key *b)
{
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    return order ? order : a->length < b->length ? -1 : a->length > b->length;
}

static int by_key(const void *left, const void *right)
{
    const Key *a = left, *b = right;
    int order = compare_keys(a, b);
    return order ? order : a->prompt < b->prompt ? -1 : 1;
}

// All prompts, sorted by identifier or by text.
static Key *sort_prompts(const PromptList *prompts, bool by_id, Err *err)
{
    Key *keys = mem_new(err, prompts->count, sizeof *keys);
    for (size_t i = 0; keys && i < prompts->count; i++) {
        const Prompt *p = prompts->items + i;
        keys[i] = by_id ? (Key){p->id, strlen(p->id), i} : (Key){p->text, p->text_length, i};
    }
    if (keys) qsort(keys, prompts->count, sizeof *keys, by_key);
    return keys;
}

static int find_prompt(size_t *prompt, const Key *keys, size_t count, Key wanted, const char *key, const char *where, Err *err)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(keys + middle, &wanted) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == count || compare_keys(keys + low, &wanted))
        return err_input(err, "%s: key \"%s\": there is no such prompt (\"%.80s\")", where, key, wanted.bytes);
    if (low + 1 < count && !compare_keys(keys + low + 1, &wanted))
        return err_input(err, "%s: key \"%s\": more than one prompt is like that (\"%.80s\")", where, key, wanted.bytes);
    *prompt = keys[low].prompt;
    return 0;
}

typedef struct { const PromptList *prompts; Key *ids, *texts; const Tokenizer *tokenizer; size_t context; } AnswerReader;

static int read_answer(Expert *expert, const AnswerReader *reader, const json_t *line, const char *where, Err *err)
{
    bool by_id = json_object_get(line, "prompt_id");
    const char *key = by_id ? "prompt_id" : "prompt", *text = "";
    Key wanted = {0};
    ExpertAnswer answer = {0};
    size_t length = 0;
    if (json_get_string(line, key, &wanted.bytes, &wanted.length, where, err)) return -1;
    if (find_prompt(&answer.prompt, by_id ? reader->ids : reader->texts, reader->prompts->count, wanted, key, where, err))
        return -1;
    bool has_ids = json_object_get(line, "response_ids");
    if (!has_ids && json_get_string(line, "text", &text, &length, where, err)) return -1;
    if (expert->count == expert->capacity) {
        size_t capacity = expert->capacity ? expert->capacity * 2 : 64;
        ExpertAnswer *grown = mem_resize(err, expert->answers, expert->count, capacity, sizeof *grown);
        if (!grown) return -1;
        expert->answers = grown;
        expert->capacity = capacity;
    }
    size_t prompt_length = reader->prompts->items[answer.prompt].ids.length;
    int status = has_ids ? json_get_tokens(line, "response_ids", &answer.tokens, where, err) : tokenizer_encode(reader->tokenizer, &answer.tokens, text, length, err);
    if (!status && !answer.tokens.length) status = err_input(err, "%s: key \"%s\": the answer is empty", where, has_ids ? "response_ids" : "text");
    for (size_t i = 0; !status && has_ids && i < answer.tokens.length; i++)
        if (answer.tokens.ids[i] >= reader->tokenizer->vocab)
            status = err_input(err, "%s: key \"response_ids\": element %zu is %u, outside the tokenizer's vocabulary of %zu", where, i,
                (unsigned)answer.tokens.ids[i], reader->tokenizer->vocab);
    if (!status && answer.tokens.length > reader->context - prompt_length)
        status = err_input(err, "%s: the answer has %zu tokens: with the prompt's %zu it does not fit the model's context of %zu",
            where, answer.tokens.length, prompt_length, reader->context);
    if (status) tokens_free(&answer.tokens);
    else expert->answers[expert->count++] = answer;
    return status;
}

// Sorts the answers by prompt, those to one prompt in the order of the lines.
static int group_answers(Expert *expert, size_t prompts, Err *err)
{
    ExpertAnswer *sorted = mem_new(err, expert->count, sizeof *sorted);
    size_t *first = sorted ? mem_new(err, prompts + 2, sizeof *first) : NULL;
    if (!first) {
        mem_free(sorted);
        return -1;
    }
    for (size_t i = 0; i < expert->count; i++) first[expert->answers[i].prompt + 2]++;
    for (size_t p = 2; p < prompts + 2; p++) first[p] += first[p - 1];
    for (size_t i = 0; i < expert->count; i++) sorted[first[expert->answers[i].prompt + 1]++] = expert->answers[i];
    mem_free(expert->answers);
    expert->answers = sorted;
    expert->first = first;
    return 0;
}

static int open_answers(Expert *expert, const Policy *policy, Err *err)
{
    const PromptList *prompts = policy->prompts;
    AnswerReader reader = {.prompts = prompts, .tokenizer = policy->tokenizer, .context = policy->model->config.context};
    JsonLines in;
    json_t *line = NULL;
    if (jsonl_open(&in, expert->name, err)) return -1;
    reader.ids = sort_prompts(prompts, true, err);
    reader.texts = reader.ids ? sort_prompts(prompts, false, err) : NULL;
    int got = reader.texts ? 0 : -1;
    while (!got && (got = jsonl_next(&in, &line, err)) == 1) {
        got = read_answer(expert, &reader, line, in.where, err);
        json_decref(line);
        line = NULL;
        if (got) break;
    }
    if (!got && !expert->count)
        got = err_input(err, "%s: no answers (expected JSON lines with \"prompt_id\" or \"prompt\", and \"text\")", expert->name);
    jsonl_close(&in);
    mem_free(reader.ids);
    mem_free(reader.texts);
    return got ? -1 : group_answers(expert, prompts->count, err);
}

// ---- experts that are checkpoints -----------------------------------------------------------------------------------------------

static int open_model(Expert *expert, const Policy *policy, Err *err)
{
    Tokenizer tokenizer;
    if (checkpoint_load(&expert->model, expert->name, err)) return -1;
    expert->is_model = true;
    if (expert->model.config.head != HEAD_LM)
        return err_input(err, "%s: a reward model cannot be an expert: it has no next-token head", expert->name);
    if (checkpoint_load_tokenizer(&tokenizer, expert->name, &expert->model.config, err)) return -1;
    bool same = tokenizer_hash(&tokenizer) == tokenizer_hash(policy->tokenizer) &&
        expert->model.config.vocab == policy->model->config.vocab;
    tokenizer_free(&tokenizer);
    if (same) return 0;
    return err_input(err, "%s: this expert has another tokenizer than the policy (give its answers as a JSONL file)", expert->name);
}

// ---- the policy --------------------------------------------------------------------------------------------------------------

int policy_init(Policy *policy, Model *model, const Model *reference, const Tokenizer *tokenizer, const PromptList *prompts,
    const Compute *cx, const PolicyOptions *options, Err *err)
{
    assert(model && reference && tokenizer && prompts && cx);
    *policy = (Policy){.model = model, .reference = reference, .tokenizer = tokenizer, .prompts = prompts, .cx = cx,
        .options = *options};
    if (model->config.head != HEAD_LM || reference->config.head != HEAD_LM)
        return err_input(err, "a reward model cannot be aligned: it has no next-token head");
    if (model->config.vocab != reference->config.vocab)
        return err_input(err, "the reference has a vocabulary of %zu, the policy one of %zu", reference->config.vocab,
            model->config.vocab);
    for (size_t i = 0; i < options->expert_count; i++)
        if (!strcmp(options->expert_names ? options->expert_names[i] : options->experts[i], "policy"))
            return err_input(err, "--expert policy: candidates of that source are the policy's own; give the path another name, such as ./policy");
    if (sample_check(&options->sample, model, tokenizer, err)) return -1;
    if (!(policy->experts = mem_new(err, options->expert_count, sizeof *policy->experts))) return -1;
    int status = 0;
    for (size_t e = 0; e < options->expert_count && !status; e++) {
        Expert *expert = policy->experts + e;
        expert->name = options->experts[e];
        expert->called = options->expert_names ? options->expert_names[e] : expert->name;
        status = os_is_folder(expert->name) ? open_model(expert, policy, err) : open_answers(expert, policy, err);
    }
    if (status) policy_free(policy);
    return status;
}

void policy_free(Policy *policy)
{
    for (size_t e = 0; policy->experts && e < policy->options.expert_count; e++) {
        Expert *expert = policy->experts + e;
        if (expert->is_model) model_free(&expert->model);
        for (size_t i = 0; i < expert->count; i++) tokens_free(&expert->answers[i].tokens);
        mem_free(expert->answers);
        mem_free(expert->first);
    }
    mem_free(policy->experts);
    *policy = (Policy){0};
}

// ---- step 1: collect -----------------------------------------------------------------------------------------------------------

// Everyone's drawn answers to the prompts of a stage: [0] the policy's, [1 + e] expert e's when it is a model.
typedef struct { Sampled **drawn; size_t sources, b, K; } Stage;

static void stage_free(Stage *stage)
{
    for (size_t i = 0; stage->drawn && i < stage->sources; i++) {
        if (stage->drawn[i]) sampled_free(stage->drawn[i], stage->b * stage->K);
        mem_free(stage->drawn[i]);
    }
    mem_free(stage->drawn);
}

static int stage_draw(Stage *stage, Policy *policy, const size_t *prompts, size_t iteration, Err *err)
{
    size_t b = stage->b, K = stage->K, answers;
    if (!size_multiply(b, K, &answers)) return err_failed(err, "out of memory: %zu answers to each of %zu prompts", K, b);
    SamplePrompt *list = mem_new(err, b, sizeof *list);
    int status = list && (stage->drawn = mem_new(err, stage->sources, sizeof *stage->drawn)) ? 0 : -1;
    for (size_t i = 0; i < b && !status; i++) {
        const TokenList *ids = &policy->prompts->items[prompts[i]].ids;
        list[i] = (SamplePrompt){.ids = ids->ids, .length = ids->length, .slot = (uint32_t)i};
    }
    for (size_t source = 0; source < stage->sources && !status; source++) {
        const Model *model = source ? &policy->experts[source - 1].model : policy->model;
        SampleOptions how = policy->options.sample;
        if (source && !policy->experts[source - 1].is_model) continue;
        if (source) how.room = NULL; // that is the policy's
        how.samples = K;
        how.first_sample = source * K;
        how.seed = policy->options.seed;
        how.iteration = (uint32_t)iteration;
        double started = os_now_s();
        if (!(stage->drawn[source] = mem_new(err, answers, sizeof **stage->drawn))) status = -1;
        else status = sample_generate(stage->drawn[source], model, policy->cx, policy->tokenizer, list, b, &how,
            policy->sample_progress, policy->progress_self, err);
        if (!source) policy->sample_seconds = os_now_s() - started;
    }
    policy->sampled_tokens = 0;
    for (size_t i = 0; i < answers && !status; i++) policy->sampled_tokens += stage->drawn[0][i].length;
    mem_free(list);
    return status;
}

typedef struct { size_t slot, prompt, k; const char *source, *stop; } Place; // where an answer belongs

static int add_answer(const Policy *policy, SampleList *out, const Place *place, const uint32_t *ids, size_t length, Err *err)
{
    const Prompt *prompt = policy->prompts->items + place->prompt;
    Sample *s = samples_add(out, err);
    Text text = {0};
    if (!s) return -1;
    s->slot = place->slot;
    s->k = place->k;
    s->prompt_length = prompt->text_length;
    int status = sample_text(&text, policy->tokenizer, ids, length, place->stop, err);
    s->text_length = text.length;
    if (!status && !(s->text = mem_copy_bytes(err, text.data ? text.data : "", text.length))) status = -1;
    text_free(&text);
    if (status) return -1;
    if (!(s->prompt_id = mem_copy_text(err, prompt->id))) return -1;
    if (!(s->prompt = mem_copy_bytes(err, prompt->text, prompt->text_length))) return -1;
    if (!(s->source = mem_copy_text(err, place->source))) return -1;
    if (tokens_append(&s->prompt_tokens, err, prompt->ids.ids, prompt->ids.length)) return -1;
    return tokens_append(&s->tokens, err, ids, length);
}

static int note_drawn(Sample *sample, const Sampled *answer, Err *err)
{
    sample->logprob = answer->logprob;
    if (!answer->values) return 0;
    if (!(sample->drawn = mem_new(err, answer->length, sizeof *sample->drawn))) return -1;
    for (size_t t = 0; t < answer->length; t++) sample->drawn[t] = (DrawnToken){answer->logprobs[t], answer->values[t]};
    return 0;
}

// The answers to one prompt: the policy's K first, then each expert's.
static int add_slot(const Policy *policy, SampleList *out, const Stage *stage, size_t slot, size_t prompt, Err *err)
{
    Place place = {.slot = slot, .prompt = prompt};
    for (size_t source = 0; source < stage->sources; source++) {
        const Expert *expert = source ? policy->experts + source - 1 : NULL;
        const Sampled *drawn = stage->drawn[source];
        place.source = expert ? expert->called : "policy";
        place.stop = drawn ? policy->options.sample.stop : NULL;
        for (size_t i = 0; drawn && i < stage->K; i++, place.k++) {
            const Sampled *answer = drawn + slot * stage->K + i;
            if (add_answer(policy, out, &place, answer->ids, answer->length, err)) return -1;
            if (!source && note_drawn(out->items + out->count - 1, answer, err)) return -1; // an expert's is measured under the policy below
        }
        for (size_t i = drawn ? 0 : expert->first[prompt]; !drawn && i < expert->first[prompt + 1]; i++, place.k++)
            if (add_answer(policy, out, &place, expert->answers[i].tokens.ids, expert->answers[i].tokens.length, err)) return -1;
    }
    return 0;
}

void policy_examples_free(ExampleList *list)
{
    mem_free(list->examples);
    mem_free(list->ids);
    *list = (ExampleList){0};
}

int policy_examples(ExampleList *list, const Sample *const *samples, size_t count, Err *err)
{
    size_t tokens = 0;
    for (size_t i = 0; i < count; i++) tokens += samples[i]->prompt_tokens.length + samples[i]->tokens.length;
    *list = (ExampleList){.count = count};
    list->examples = mem_new(err, count, sizeof *list->examples);
    uint32_t *at = list->examples ? list->ids = mem_new(err, tokens, sizeof *at) : NULL;
    if (!at) return -1;
    for (size_t i = 0; i < count; i++) {
        const TokenList *prompt = &samples[i]->prompt_tokens, *response = &samples[i]->tokens;
        list->examples[i] = (Example){.ids = at, .length = prompt->length + response->length, .prompt = prompt->length};
        memcpy(at, prompt->ids, prompt->length * sizeof *at);
        memcpy(at + prompt->length, response->ids, response->length * sizeof *at);
        at += list->examples[i].length;
    }
    return 0;
}

// logprob[count]: of the samples' responses under a model, at temperature 1.
static int evaluate_samples(float *logprob, const Model *model, const Compute *cx, const Sample *const *samples, size_t count,
    Err *err)
{
    ExampleList list;
    int status = policy_examples(&list, samples, count, err);
    if (!status && count) status = lm_evaluate(model, cx, list.examples, count, logprob, NULL, err);
    policy_examples_free(&list);
    return status;
}

// logprob of the experts' answers (k >= K); the sampler knows the policy's own.
static int measure_experts(const Policy *policy, SampleList *out, size_t K, Err *err)
{
    const Sample **samples = mem_new(err, out->count, sizeof *samples);
    float *logprob = samples ? mem_new(err, out->count, sizeof *logprob) : NULL;
    size_t foreign = 0, at = 0;
    for (size_t i = 0; logprob && i < out->count; i++)
        if (out->items[i].k >= K) samples[foreign++] = out->items + i;
    int status = logprob ? evaluate_samples(logprob, policy->model, policy->cx, samples, foreign, err) : -1;
    for (size_t i = 0; !status && i < out->count; i++)
        if (out->items[i].k >= K) out->items[i].logprob = logprob[at++];
    mem_free(samples);
    mem_free(logprob);
    return status;
}

// While p0 equals the policy, an answer's two log-probabilities are the same to the bit.
int policy_measure_reference(const Policy *policy, Sample *const *samples, size_t count, Err *err)
{
    const Sample **asked = mem_new(err, count, sizeof *asked);
    float *logprob = asked ? mem_new(err, count, sizeof *logprob) : NULL;
    size_t n = 0, at = 0;
    for (size_t i = 0; logprob && i < count; i++)
        if (!samples[i]->has_reference) asked[n++] = samples[i];
    int status = logprob ? 0 : -1;
    if (!status && model_equal(policy->model, policy->reference))
        for (size_t i = 0; i < n; i++) logprob[i] = asked[i]->logprob;
    else if (!status) status = evaluate_samples(logprob, policy->reference, policy->cx, asked, n, err);
    for (size_t i = 0; !status && i < count; i++) {
        if (samples[i]->has_reference) continue;
        samples[i]->ref_logprob = logprob[at++];
        samples[i]->has_reference = true;
    }
    mem_free(asked);
    mem_free(logprob);
    return status;
}

int policy_collect(Policy *policy, SampleList *out, const size_t *prompts, size_t b, size_t K, size_t iteration, Err *err)
{
    Stage stage = {.sources = 1 + policy->options.expert_count, .b = b, .K = K};
    assert(!out->count);
    if (policy->options.sample.temperature == 0 && policy->options.sample.stream == STREAM_SAMPLE)
        return err_input(err, "--temperature must be above 0 to collect: greedy answers to a prompt are all the same");
    if ((uint64_t)b > UINT32_MAX || iteration >> 24)
        return err_input(err, "more than 2^32 prompts or 2^24 iterations: they are counters of the random generator");
    int status = stage_draw(&stage, policy, prompts, iteration, err);
    for (size_t slot = 0; slot < b && !status; slot++) status = add_slot(policy, out, &stage, slot, prompts[slot], err);
    stage_free(&stage);
    if (!status) status = measure_experts(policy, out, K, err);
    if (status) samples_free(out);
    return status;
}

// ---- step 3: fine-tune ---------------------------------------------------------------------------------------------------------

static int check_selected(const Policy *policy, const Sample *s, Err *err)
{
    const ModelConfig *c = &policy->model->config;
    if (s->prompt_tokens.length + s->tokens.length > c->context)
        return err_input(err, "slot %zu, k %zu: prompt and response have %zu tokens, the model's context is %zu", s->slot, s->k,
            s->prompt_tokens.length + s->tokens.length, c->context);
    for (size_t half = 0; half < 2; half++) {
        const TokenList *list = half ? &s->tokens : &s->prompt_tokens;
        for (size_t i = 0; i < list->length; i++)
            if (list->ids[i] >= c->vocab)
                return err_input(err, "slot %zu, k %zu: %s %zu is id %u, outside the model's vocabulary of %zu", s->slot, s->k,
                    half ? "token" : "prompt token", i, (unsigned)list->ids[i], c->vocab);
    }
    return 0;
}

size_t policy_replayed(double replay, size_t chosen) { return round_up(replay * (double)chosen); }

// The texts that this stage reads beside `chosen` answers, behind them in the list.
static int add_replayed(ExampleList *list, const Policy *policy, size_t chosen, size_t iteration, Err *err)
{
    const PolicyOptions *how = &policy->options;
    size_t n = policy_replayed(how->replay, chosen);
    if (!n) return 0;
    if (!how->text_count) return err_input(err, "--replay %g: there is no text to read beside the chosen answers", how->replay);
    Example *grown = mem_resize(err, list->examples, list->count, chosen + n, sizeof *grown);
    if (!grown) return -1;
    list->examples = grown;
    size_t *dealt = mem_new(err, n, sizeof *dealt);
    uint32_t *order = dealt ? mem_new(err, how->text_count, sizeof *order) : NULL;
    if (order) philox_deal(dealt, n, iteration * n, how->text_count, how->seed, STREAM_REPLAY, order);
    for (size_t i = 0; order && i < n; i++) list->examples[list->count++] = how->texts[dealt[i]];
    mem_free(dealt);
    mem_free(order);
    return order ? 0 : -1;
}

// AdamW and its schedule start afresh.
int policy_finetune(Policy *policy, const SampleList *samples, size_t iteration, Err *err)
{
    const Sample **selected = mem_new(err, samples->count, sizeof *selected);
    size_t count = 0;
    int status = selected ? 0 : -1;
    for (size_t i = 0; i < samples->count && !status; i++) {
        if (!samples->items[i].selected) continue;
        status = check_selected(policy, samples->items + i, err);
        selected[count++] = samples->items + i;
    }
    if (!status && !count) status = err_input(err, "no candidate is selected: there is nothing to fine-tune on");
    ExampleList list = {0};
    Trainer trainer = {0};
    if (!status) status = policy_examples(&list, selected, count, err) || add_replayed(&list, policy, count, iteration, err) ? -1 : 0;
    if (!status) status = trainer_init(&trainer, policy->model, policy->cx, &policy->options.train, err);
    if (!status) {
        double started = os_now_s();
        status = train_run(&trainer, list.examples, list.count, policy->options.seed, (uint32_t)iteration, policy->train_progress,
            policy->progress_self, &policy->last, err);
        policy->train_seconds = os_now_s() - started;
        trainer_free(&trainer);
    }
    policy_examples_free(&list);
    mem_free(selected);
    return status;
}

// ---- the two as raft.h's Generator: an item is a Sample of its own ------------------------------------------------------------

Candidate policy_candidate(Sample *sample, size_t prompt)
{
    float log_ratio = sample->has_reference ? sample->logprob - sample->ref_logprob : 0;
    return (Candidate){.slot = sample->slot, .prompt = prompt, .k = sample->k, .log_ratio = log_ratio, .item = sample};
}

static void generator_release(void *self, void *item)
{
    (void)self;
    if (item) sample_clear(item);
    mem_free(item);
}

int policy_candidates(CandidateList *out, SampleList *samples, const size_t *prompts, Err *err)
{
    for (size_t i = 0; i < samples->count; i++) {
        Sample *item = mem_new(err, 1, sizeof *item);
        if (!item) return -1;
        *item = samples->items[i];
        Candidate candidate = policy_candidate(item, prompts[item->slot]);
        if (candidates_add(out, &candidate, err)) {
            mem_free(item);
            return -1;
        }
        samples->items[i] = (Sample){0}; // the item owns it now
    }
    return 0;
}

static int generator_sample(void *self, CandidateList *out, const size_t *prompts, size_t b, size_t K, size_t iteration, Err *err)
{
    SampleList samples = {0};
    int status = policy_collect(self, &samples, prompts, b, K, iteration, err) || policy_candidates(out, &samples, prompts, err) ? -1 : 0;
    samples_free(&samples);
    return status;
}

static int generator_finetune(void *self, const CandidateList *ranked, size_t iteration, Err *err)
{
    SampleList selected = {0}; // borrows what the items own
    if (!(selected.items = mem_new(err, ranked->count, sizeof *selected.items))) return -1;
    for (size_t i = 0; i < ranked->count; i++) {
        if (!ranked->items[i].selected) continue;
        selected.items[selected.count] = *(const Sample *)ranked->items[i].item;
        selected.items[selected.count++].selected = true;
    }
    int status = policy_finetune(self, &selected, iteration, err);
    mem_free(selected.items);
    return status;
}

static int generator_log_ratio(void *self, CandidateList *candidates, Err *err)
{
    size_t n = candidates->count;
    Sample **samples = mem_new(err, n, sizeof *samples);
    for (size_t i = 0; samples && i < n; i++) samples[i] = candidates->items[i].item;
    int status = samples ? policy_measure_reference(self, samples, n, err) : -1;
    for (size_t i = 0; i < n && !status; i++) candidates->items[i].log_ratio = samples[i]->logprob - samples[i]->ref_logprob;
    mem_free(samples);
    return status;
}

Generator policy_generator(Policy *policy)
{
    return (Generator){.self = policy, .sample = generator_sample, .finetune = generator_finetune, .log_ratio = generator_log_ratio,
        .release = generator_release};
}
