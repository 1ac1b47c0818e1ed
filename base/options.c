// SPDX-License-Identifier: MIT
/* options.c - the table of options: what there is, its default, its range, its help. Knows nothing of parsing. */
#include "base/options.h"

#define FIELD(name) offsetof(Options, name)
#define FLAG(name, field, groups, help) {name, OPTION_FLAG, groups, FIELD(field), NULL, 0, 0, "", help}
#define SIZE(name, field, groups, fallback, least, most, unit, help) {name, OPTION_SIZE, groups, FIELD(field), fallback, least, most, unit, help}
#define NUMBER(name, field, groups, fallback, least, most, unit, help) {name, OPTION_NUMBER, groups, FIELD(field), fallback, least, most, unit, help}
#define TEXT(name, field, groups, fallback, unit, help) {name, OPTION_TEXT, groups, FIELD(field), fallback, 0, 0, unit, help}
#define CHOICE(name, field, groups, fallback, choices, help) {name, OPTION_CHOICE, groups, FIELD(field), fallback, 0, 0, choices, help}
#define LIST(name, field, groups, unit, help) {name, OPTION_LIST, groups, FIELD(field), NULL, 0, 0, unit, help}
#define ANY OPTION_NO_LIMIT

enum { OPTIMISER = OPT_TRAIN | OPT_TRACE }; // a traced step is a training step on a given batch

const OptionSpec option_table[] = {
    // every command
    TEXT("profile", profile, OPT_COMMON | OPT_ONCE, NULL, "NAME", "settings from profiles/NAME.conf, or from a file when it holds a slash"),
    TEXT("output", output, OPT_COMMON | OPT_NEUTRAL, NULL, "PATH", "where the result goes (-o)"),
    {"seed", OPTION_SEED, OPT_COMMON, FIELD(seed), "1", 0, 0, "", "of every random draw"},
    SIZE("threads", threads, OPT_COMMON | OPT_ONCE, "0", 0, 4096, "threads", "0: OMP_NUM_THREADS, else all cores; never changes a result"),
    TEXT("isa", isa, OPT_COMMON | OPT_ONCE, NULL, "NAME", "avx512, avx2, neon or plain (default: RAFT_ISA, else the best); never changes a result"),
    TEXT("matmul", matmul, OPT_COMMON | OPT_ONCE, NULL, "NAME",
        "own or blis (default: RAFT_MATMUL, else the build's); blis gives up the same-bits promise"),
    FLAG("json", json, OPT_COMMON | OPT_ONCE, "one JSON object on standard output instead of a table"),
    FLAG("quiet", quiet, OPT_COMMON | OPT_ONCE, "no progress on standard error"),
    FLAG("force", force, OPT_COMMON | OPT_ONCE, "replace a run or file that exists"),
    // what writes a run directory
    FLAG("resume", resume, OPT_RUN | OPT_ONCE, "go on with the run in the directory where it was cut off, or begin it"),
    SIZE("save-every", save_every, OPT_RUN | OPT_NEUTRAL, "100", 0, ANY, "steps", "between two saves of the state that --resume needs; 0: after each stage only"),
    TEXT("repeat", repeat, OPT_RUN | OPT_ONCE, NULL, "RUN", "settings and inputs must be those recorded in that run (raft rerun sets it)"),
    // texts
    TEXT("corpus", corpus, OPT_CORPUS | OPT_NEUTRAL, NULL, "PATH", "texts: a folder (pos/ and neg/, or *.txt), a .txt, .jsonl or .grammar file"),
    TEXT("test-corpus", test_corpus, OPT_CORPUS, NULL, "PATH", "texts to measure on, never trained on"),
    SIZE("corpus-size", corpus_size, OPT_CORPUS, "4000", 1, ANY, "texts", "made from a .grammar file"),
    SIZE("limit", limit, OPT_CORPUS | OPT_PROMPTS | OPT_DATA | OPT_JSONL, "0", 0, ANY, "texts", "use only the first so many; 0: all"),
    TEXT("tokenizer", tokenizer, OPT_TOKENIZER_FILE | OPT_PROMPT | OPT_NEUTRAL, NULL, "FILE", "tokenizer.json"),
    TEXT("prompts", prompts, OPT_PROMPTS | OPT_NEUTRAL, NULL, "FILE", "JSON lines with \"prompt\" (or \"text\"), or \"messages\" of a chat"),
    TEXT("data", data, OPT_DATA | OPT_NEUTRAL, NULL, "FILE", "JSON lines to train on"),
    TEXT("jsonl", jsonl, OPT_JSONL, NULL, "FILE", "JSON lines to read"),
    // one prompt
    TEXT("prompt", prompt, OPT_PROMPT, NULL, "TEXT", "text to continue"),
    TEXT("system", system, OPT_CHAT, NULL, "TEXT", "what the system says before the conversation"),
    TEXT("template", template_file, OPT_CHAT | OPT_PROMPTS, NULL, "FILE", "chat template to use instead of the checkpoint's"),
    TEXT("ids", ids, OPT_PROMPT | OPT_TRACE, NULL, "N,N,...", "token ids instead of text"),
    // tokenizer
    SIZE("vocab", vocab, OPT_TOKENIZER, "4096", 257, 16777216, "tokens", "size of the vocabulary, special tokens included"),
    LIST("special", special, OPT_TOKENIZER, "TOKEN", "special token; the first one ends a text; repeat for more"),
    FLAG("split-digits", split_digits, OPT_TOKENIZER, "each digit is a token of its own"),
    // model
    TEXT("init", init, OPT_MODEL | OPT_NEUTRAL, NULL, "CKPT", "start from this checkpoint; its sizes replace the options below"),
    SIZE("dim", dim, OPT_MODEL, "256", 1, 65536, "", "width of the residual stream"),
    SIZE("layers", layers, OPT_MODEL, "6", 1, 1024, "", "transformer blocks"),
    SIZE("heads", heads, OPT_MODEL, "8", 1, 1024, "", "query heads; dim is a multiple of twice this"),
    SIZE("kv-heads", kv_heads, OPT_MODEL, "0", 0, 1024, "", "key and value heads; 0: as many as query heads"),
    SIZE("ff", ff, OPT_MODEL, "688", 1, 1048576, "", "width of the feed-forward layer"),
    SIZE("context", context, OPT_MODEL, "512", 2, 1048576, "tokens", "longest sequence"),
    FLAG("untied", untied, OPT_MODEL, "an output matrix of its own instead of the embedding"),
    NUMBER("rope-theta", rope_theta, OPT_MODEL, "10000", 1, 1e12, "", "base of the rotary position frequencies"),
    NUMBER("rms-eps", rms_eps, OPT_MODEL, "1e-5", OPTION_ABOVE_0, 1, "", "added to the mean square in RMSNorm"),
    // traces; before training's "batch", which the name means wherever both are taken and in profiles
    TEXT("batch", batch_file, OPT_TRACE, NULL, "FILE", "safetensors with input_ids and labels (-100: not counted)"),
    SIZE("steps", steps, OPT_TRACE, "1", 1, 1000000, "steps", "on this batch"),
    FLAG("hashes-only", hashes_only, OPT_RECORD, "write the hashes of tensors and not their values: for large models"),
    NUMBER("rtol", rtol, OPT_DIFF, "0", 0, 1e6, "", "allowed difference as a fraction of the larger value; 0 with --atol 0: same bits"),
    NUMBER("atol", atol, OPT_DIFF, "0", 0, 1e30, "", "allowed difference as it stands"),
    TEXT("map", map, OPT_DIFF, NULL, "FILE", "lines \"name in A   name in B\"; '*' stands for the same characters on both sides"),
    // training
    NUMBER("lr", lr, OPTIMISER, "1e-3", 0, 100, "", "learning rate of AdamW"),
    NUMBER("beta1", beta1, OPTIMISER, "0.9", 0, 0.99999, "", "decay of the mean of gradients"),
    NUMBER("beta2", beta2, OPTIMISER, "0.95", 0, 0.99999, "", "decay of the mean of squared gradients"),
    NUMBER("eps", eps, OPTIMISER, "1e-8", OPTION_ABOVE_0, 1, "", "added to the root of the mean square in AdamW"),
    NUMBER("weight-decay", weight_decay, OPTIMISER, "0.1", 0, 100, "", "decoupled, on matrices"),
    FLAG("decay-all", decay_all, OPTIMISER, "weight decay on norm weights too"),
    NUMBER("clip", clip, OPTIMISER, "1", 0, 1e30, "", "largest norm of the gradient; 0: none"),
    CHOICE("schedule", schedule, OPT_TRAIN, "cosine", "cosine|linear|constant", "of the learning rate after warm-up"),
    TEXT("train-layers", train_layers, OPT_TRAIN, NULL, "A-B", "train these layers only (counted from 0) and a reward head; the rest takes no memory for training"),
    NUMBER("warmup", warmup, OPT_TRAIN, "0.02", 0, 1, "of all steps", "during which the rate rises linearly"),
    NUMBER("final-lr", final_lr, OPT_TRAIN, "0.1", 0, 1, "of lr", "at the end of cosine and linear"),
    SIZE("batch", batch, OPT_TRAIN, "16", 1, 1048576, "examples", "a step"),
    SIZE("epochs", epochs, OPT_TRAIN, "1", 1, 1023, "passes", "over the examples"),
    SIZE("micro-rows", micro_rows, OPT_TRAIN | OPT_NEUTRAL, "2048", 1, 16777216, "tokens", "computed at once; changes memory, never a result"),
    SIZE("max-steps", max_steps, OPT_TRAIN, "0", 0, ANY, "steps", "stop the schedule there; 0: all epochs"),
    // sampling
    SIZE("samples", samples, OPT_SAMPLE, "8", 1, 1048576, "answers", "K, to each prompt"),
    SIZE("max-new", max_new, OPT_SAMPLE, "24", 1, 1048576, "tokens", "longest answer, end-of-text included"),
    SIZE("min-new", min_new, OPT_SAMPLE, "0", 0, 1048576, "tokens", "each answer is cut off at a length drawn from this to max-new; 0: at max-new"),
    NUMBER("temperature", temperature, OPT_SAMPLE, "1", 0, 1e4, "", "divides the logits; 0: greedy, in generate only"),
    SIZE("top-k", top_k, OPT_SAMPLE, "0", 0, ANY, "tokens", "draw from the k likeliest; 0: from all"),
    NUMBER("top-p", top_p, OPT_SAMPLE, "1", OPTION_ABOVE_0, 1, "", "draw from the likeliest with this much probability; 1: from all"),
    TEXT("stop", stop, OPT_SAMPLE, NULL, "TEXT", "ends an answer; the text is cut before it"),
    SIZE("sample-batch", sample_batch, OPT_SAMPLE | OPT_NEUTRAL, "256", 1, 65536, "sequences", "decoded together; changes memory, never a result"),
    SIZE("prompt-tokens", prompt_tokens, OPT_RANK | OPT_ALIGN, "0", 0, 1048576, "tokens",
        "prompts cut from the start of texts; 0: whole texts"),
    // ranking and rewards
    LIST("reward", reward, OPT_RANK, "SPEC", "[WEIGHT*]head:DIR, lexicon:FILE, length:N or command:PROGRAM; repeat for a sum"),
    TEXT("gold", gold, OPT_RANK, NULL, "SPEC", "a reward that is measured and never optimised"),
    CHOICE("mode", mode, OPT_RANK, "local", "local|global", "keep the best answer to each prompt, or the best of all answers"),
    NUMBER("accept", accept, OPT_RANK, "0", 0, 1, "of answers", "kept by global ranking; 0: 1/K"),
    NUMBER("kl-beta", kl_beta, OPT_RANK, "0", 0, 1e6, "per nat", "weight of log(p/p0) subtracted from the reward"),
    NUMBER("timeout", timeout, OPT_RANK | OPT_NEUTRAL, "30", OPTION_ABOVE_0, 1e6, "seconds", "for a reward program's reply"),
    // alignment
    CHOICE("algo", algo, OPT_ALIGN, "raft", "raft|ppo", "how to align"),
    LIST("expert", expert, OPT_ALIGN, "SOURCE", "answers from elsewhere compete too: a checkpoint, a JSONL file or (demo, compare) human, the review itself; repeat for more"),
    NUMBER("replay", replay, OPT_ALIGN, "0", 0, 1024, "texts", "of people, read beside each chosen answer so that less is forgotten (experience replay); 0.5: one beside two; 0: none"),
    SIZE("replay-tokens", replay_tokens, OPT_ALIGN, "128", 2, 1048576, "tokens", "of each of these texts, from its beginning"),
    TEXT("replay-corpus", replay_corpus, OPT_ALIGN | OPT_NEUTRAL, NULL, "PATH", "these texts: a folder, a .txt, .jsonl or .grammar file; demo and compare take the training reviews"),
    TEXT("reference", reference, OPT_ALIGN | OPT_NEUTRAL, NULL, "CKPT", "p0, from which KL is measured (default: the starting checkpoint)"),
    SIZE("iterations", iterations, OPT_ALIGN, "5", 1, 16383, "", "collect, rank, fine-tune: how often"),
    SIZE("iteration", iteration, OPT_ALIGN, "0", 0, 16382, "", "which one a single step belongs to: decides its random draws"),
    SIZE("stage-prompts", stage_prompts, OPT_ALIGN, "0", 0, ANY, "prompts", "b, of an iteration; 0: all"),
    SIZE("eval-prompts", eval_prompts, OPT_ALIGN, "0", 0, ANY, "prompts", "answered to measure each iteration; 0: none"),
    SIZE("eval-every", eval_every, OPT_ALIGN, "1", 1, ANY, "iterations", "from one measurement to the next; the last is always measured"),
    LIST("stop-when", stop_when, OPT_ALIGN, "MONITOR", "gold-falls, diversity-falls[:0.1] or kl-above:NATS, looked at after each measurement; RUN/best keeps the best model; repeat for more"),
    FLAG("explain", explain, OPT_ALIGN | OPT_NEUTRAL, "show a prompt, its K answers, their rewards and the winner"),
    // measuring and comparing
    SIZE("best-of", best_of, OPT_EVAL, "0", 0, 1048576, "answers", "best-of-K: of so many answers to a prompt the one with the highest reward counts; 0: all"),
    LIST("arm", arm, OPT_PLAN | OPT_NEUTRAL, "[NAME:]KIND [KEY=VALUE]", "base, best-of, sft, raft or ppo, with settings of its own; repeat for more"),
    SIZE("seeds", seeds, OPT_PLAN | OPT_NEUTRAL, "3", 1, 64, "seeds", "of each arm: --seed, the next one, ..."),
    // PPO
    NUMBER("kl-coef", kl_coef, OPT_PPO, "0.05", 0, 1e6, "per nat", "PPO: weight of log(p/p0) subtracted from each token's reward"),
    NUMBER("kl-target", kl_target, OPT_PPO, "0", 0, 1e6, "nats", "PPO: KL of an answer to steer kl-coef towards; 0: kl-coef is fixed"),
    NUMBER("kl-gain", kl_gain, OPT_PPO, "0.1", 0, 4, "", "PPO: how fast it steers; an iteration changes kl-coef by at most a fifth of this"),
    NUMBER("gamma", gamma, OPT_PPO, "1", 0, 1, "", "PPO: discount of later rewards, a token"),
    NUMBER("lambda", lambda, OPT_PPO, "0.95", 0, 1, "", "PPO: how far advantages look ahead; 1: to the end of the answer"),
    NUMBER("ratio-clip", ratio_clip, OPT_PPO, "0.2", OPTION_ABOVE_0, 1, "", "PPO: farthest that p/p_old moves from 1 and still gains"),
    NUMBER("value-clip", value_clip, OPT_PPO, "0.2", 0, 1e6, "of reward", "PPO: farthest that a value moves and still gains; 0: no limit"),
    NUMBER("vf-coef", vf_coef, OPT_PPO, "0.1", 0, 1e6, "", "PPO: weight of the value loss beside the policy's"),
    // reward head
    CHOICE("pooling", pooling, OPT_HEAD, "last", "last|mean", "what the head reads: the last token, or the mean over all"),
    TEXT("pairs", pairs, OPT_HEAD | OPT_NEUTRAL, NULL, "FILE", "JSON lines prompt, chosen, rejected: train on preferences instead of labels"),
    NUMBER("prefix-share", prefix_share, OPT_HEAD, "0.5", 0, 1, "of texts", "read as a prefix of random length"),
    SIZE("prefix-least", prefix_least, OPT_HEAD, "4", 1, 1048576, "tokens", "shortest prefix"),
    SIZE("prefix-most", prefix_most, OPT_HEAD, "0", 0, 1048576, "tokens", "longest prefix, 0: as long as the text and head-tokens allow"),
    SIZE("head-tokens", head_tokens, OPT_HEAD, "256", 1, 1048576, "tokens", "of a longer text, one window of this size each epoch"),
    // the experiment of demo and compare
    SIZE("prompt-characters", prompt_characters, OPT_EXPERIMENT, "0", 0, 1048576, "characters", "prompts cut after so many characters instead of tokens; 0: no"),
    SIZE("prompt-words", prompt_words, OPT_EXPERIMENT, "0", 0, 1048576, "words", "prompts of so many words, with one blank between them; 0: no"),
    SIZE("prompt-least", prompt_least, OPT_EXPERIMENT, "0", 0, 1048576, "", "each prompt's length is drawn from this to the one given; 0: all alike"),
    FLAG("adapt", adapt, OPT_EXPERIMENT, "train the model of --init on the training texts first, in pieces of --context tokens (stage pretrain)"),
    TEXT("heads-from", heads_from, OPT_EXPERIMENT | OPT_NEUTRAL, NULL, "RUN", "take the reward heads that an earlier run made of the same texts"),
    SIZE("held-out-tokens", held_out_tokens, OPT_EXPERIMENT, "0", 0, ANY, "tokens", "of each held-out text that perplexity is measured on; 0: all"),
    // export
    CHOICE("format", format, OPT_EXPORT, "hf", "hf|gguf", "a Hugging Face directory, or a GGUF file"),
    CHOICE("dtype", dtype, OPT_EXPORT, "f32", "f32|bf16|f16|q8_0", "how weights are stored: hf f32 or bf16, gguf f32, f16 or q8_0"),
    // bench
    NUMBER("seconds", seconds, OPT_BENCH | OPT_ONCE, "0.4", 0, 3600, "seconds", "for each point; more is steadier"),
    {NULL, OPTION_FLAG, 0, 0, NULL, 0, 0, NULL, NULL},
};

const char *const stage_table[] = {
    "tokenizer", "pretrain", "sft", "reward", "proxy", "gold", "align", "raft", "ppo", "collect", "rank", "finetune", "eval",
    "generate", NULL,
};
