// SPDX-License-Identifier: MIT
#define _XOPEN_SOURCE 700 // fork, setrlimit
/* test_state.c - a training that is killed before or after any of its renames, or that meets a full disk, ends with the bytes of
 * one that was left alone; a damaged state, another setting or another input is refused by name.
 *
 * The program is linked with --wrap=rename: the wrapper is the instant between write and rename. */
#include "tests/support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "files/checkpoint.h"
#include "study/state.h"

enum { EXAMPLES = 10, LENGTH = 6, EVERY = 2 };

static char *folder;
static int renames_left = -1; // before this process dies; -1: it lives
static bool after_rename;     // die after the last one instead of before it
static bool rename_fails;

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    bool last = renames_left > 0 && --renames_left == 0;
    if (rename_fails) return errno = EIO, -1;
    if (last && !after_rename) kill(getpid(), SIGKILL);
    int status = __real_rename(from, to);
    if (last) kill(getpid(), SIGKILL);
    return status;
}

// ---- a run like a command's: ten examples, three epochs, a metric a step ------------------------------------------------------

typedef struct { const char *name; const char *lr; uint64_t data_hash; bool resume; uint32_t shift; } Job;
typedef struct { Run *run; Err *err; double mean; } Curve;

static int record_step(void *self, size_t step, size_t steps, const StepStats *stats)
{
    Curve *curve = self;
    (void)steps;
    curve->mean = 0.9 * curve->mean + 0.1 * stats->loss;
    return run_metrics(curve->run, json_pack("{s:I,s:o,s:o}", "step", (json_int_t)step, "loss", json_float(stats->loss), "mean",
        json_float(curve->mean)), curve->err);
}

static int train(const Compute *cx, Run *run, RunState *state, const Job *job, const char *path, Err *err)
{
    const ModelConfig config = {.vocab = 40, .dim = 16, .layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 8, .ff = 24, .context = 16,
        .rms_eps = 1e-5, .rope_theta = 10000, .rope_factor = 1, .tied = true, .bos = -1, .eos = 0, .pad = -1};
    uint32_t ids[EXAMPLES][LENGTH];
    Example examples[EXAMPLES];
    TrainOptions how = train_defaults();
    Model model = {0};
    Trainer trainer = {0};
    StepStats total;
    Curve curve = {.run = run, .err = err};
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        for (uint32_t t = 0; t < LENGTH; t++) ids[i][t] = (i * 7 + t * t + job->shift) % 40;
        examples[i] = (Example){.ids = ids[i], .length = LENGTH};
    }
    how.batch = 4, how.epochs = 3, how.keeper = &state->keeper;
    state_keep(state, (KeptValue){"mean", NULL, &curve.mean});
    int status = model_init(&model, &config, err);
    if (!status) model_randomise(&model, 1);
    if (!status) status = trainer_init(&trainer, &model, cx, &how, err) ||
        train_run(&trainer, examples, EXAMPLES, 1, 0, record_step, &curve, &total, err) || run_timing(run, "train", 1, total.tokens, err) ||
        run_metrics(run, json_pack("{s:o,s:I}", "loss", json_float(total.loss), "targets", (json_int_t)total.targets), err) ||
        checkpoint_save(path, &model, NULL, err) || run_finish(run, err) ? -1 : 0;
    trainer_free(&trainer);
    model_free(&model);
    return status;
}

static int do_job(const Job *job, Err *err)
{
    Settings settings = {0};
    Options options;
    Compute cx;
    Run run = {0};
    RunState state = {0};
    char *path = path_in(folder, job->name), *argv[] = {"--lr", (char *)(uintptr_t)job->lr, "--resume"};
    int status = settings_parse(&settings, job->resume ? 3 : 2, argv, OPT_TRAIN | OPT_RUN, NULL, err) ||
        settings_resolve(&options, &settings, NULL, err) || compute_init(&cx, "plain", "own", 1, err) ||
        run_open(&run, path, "pretrain", &settings, &options, &cx, err) || run_record_input(&run, "data_hash", job->data_hash, "data.jsonl", err);
    if (!status && !run.finished)
        status = state_open(&state, &run, "pretrain", EVERY, err) || train(&cx, &run, &state, job, path, err);
    state_close(&state);
    run_close(&run);
    compute_free(&cx);
    settings_free(&settings);
    free(path);
    return status ? -1 : 0;
}

// In a process of its own; its exit status, or 128 + the signal that ended it.
static int in_child(const Job *job, void (*prepare)(void), Err *err)
{
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        Err own = {0};
        if (prepare) prepare();
        int failed = do_job(job, &own);
        if (write(pipes[1], &own, sizeof own) != sizeof own) _exit(99);
        _exit(failed ? own.status : 0);
    }
    close(pipes[1]);
    *err = (Err){0};
    if (read(pipes[0], err, sizeof *err) < 0) err->status = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *file_of(const char *run, const char *name)
{
    char *parent = path_in(folder, run), *path = path_in(parent, name);
    free(parent);
    return path;
}

static void assert_done_like_the_reference(const char *name)
{
    const char *const files[] = {"model.safetensors", "metrics.jsonl", "timing.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *wanted = file_of("reference", files[i]), *got = file_of(name, files[i]);
        assert_same_file(got, wanted);
        free(wanted);
        free(got);
    }
    char *state = file_of(name, "state/pretrain.safetensors");
    assert_false(os_is_file(state));
    free(state);
}

static int set_up(void **state)
{
    (void)state;
    Err err = {0};
    folder = temporary_folder();
    assert_ok(do_job(&(Job){.name = "reference", .lr = "1e-2"}, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    free(folder);
    return 0;
}

// ---- the tests -------------------------------------------------------------------------------------------------------------

static int chosen_rename;
static void die_at_the_chosen_rename(void) { renames_left = chosen_rename; }

static void a_kill_at_any_rename_changes_nothing(void **state)
{
    (void)state;
    int deaths = 0;
    for (int side = 0; side < 2; side++) {
        after_rename = side;
        for (chosen_rename = 1;; chosen_rename++) {
            char name[40];
            Err err;
            snprintf(name, sizeof name, "rename-%d-%d", side, chosen_rename);
            const Job job = {.name = name, .lr = "1e-2", .resume = true};
            int status = in_child(&job, die_at_the_chosen_rename, &err);
            if (status != 128 + SIGKILL) {
                assert_int_equal(status, 0); // there is no such rename any more
                break;
            }
            deaths++;
            assert_int_equal(in_child(&job, NULL, &err), 0);
            assert_done_like_the_reference(name);
        }
    }
    assert_true(deaths > 30);
}

static void twice_at_each_rename_and_the_run_still_ends(void **state)
{
    (void)state;
    const Job job = {.name = "often", .lr = "1e-2", .resume = true};
    Err err;
    int status, deaths = 0;
    after_rename = false;
    for (chosen_rename = 6; (status = in_child(&job, die_at_the_chosen_rename, &err)) == 128 + SIGKILL; deaths++)
        if (deaths % 2) chosen_rename = 6 + deaths / 2;
    assert_int_equal(status, 0);
    assert_true(deaths > 3);
    assert_done_like_the_reference("often");
}

static rlim_t largest_file;
static void small_disk(void)
{
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){largest_file, largest_file});
}

static void a_full_disk_is_a_failure_and_the_run_goes_on_when_there_is_room(void **state)
{
    (void)state;
    Err err;
    const rlim_t sizes[] = {100, 600, 2000, 9000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[40];
        snprintf(name, sizeof name, "full-%zu", i);
        const Job job = {.name = name, .lr = "1e-2", .resume = true};
        largest_file = sizes[i];
        assert_int_equal(in_child(&job, small_disk, &err), 1);
        assert_non_null(strstr(err.text, name));
        assert_int_equal(in_child(&job, NULL, &err), 0);
        assert_done_like_the_reference(name);
    }
}

static void let_renames_fail(void) { rename_fails = true; }

static void a_rename_that_fails_is_a_failure(void **state)
{
    (void)state;
    Err err;
    const Job job = {.name = "no-rename", .lr = "1e-2", .resume = true};
    assert_int_equal(in_child(&job, let_renames_fail, &err), 1);
    assert_int_equal(in_child(&job, NULL, &err), 0);
    assert_done_like_the_reference("no-rename");
}

// A run that was cut off in the middle, with a state.
static void cut(const char *name)
{
    Err err;
    after_rename = false;
    chosen_rename = 12;
    assert_int_equal(in_child(&(Job){.name = name, .lr = "1e-2"}, die_at_the_chosen_rename, &err), 128 + SIGKILL);
    char *path = file_of(name, "state/pretrain.safetensors");
    assert_true(os_is_file(path));
    free(path);
}

static void other_settings_or_data_are_refused_by_name(void **state)
{
    (void)state;
    Err err = {0};
    cut("other");
    assert_input_error(do_job(&(Job){.name = "other", .lr = "2e-2", .resume = true}, &err), &err, "--lr 0.01, now it is 0.02");
    assert_input_error(do_job(&(Job){.name = "other", .lr = "1e-2", .resume = true, .data_hash = 1}, &err), &err, "data.jsonl: is not what it was");
    assert_input_error(do_job(&(Job){.name = "other", .lr = "1e-2"}, &err), &err, "already holds a run");
    assert_ok(do_job(&(Job){.name = "other", .lr = "0.010", .resume = true}, &err), &err); // the same number
    assert_done_like_the_reference("other");
}

static void a_cut_or_damaged_state_is_refused_by_name(void **state)
{
    (void)state;
    size_t n;
    Err err = {0};
    cut("damaged");
    char *path = file_of("damaged", "state/pretrain.safetensors"), *bytes = read_file(path, &n);
    const Job job = {.name = "damaged", .lr = "1e-2", .resume = true};
    for (size_t length = 0; length < n; length += n / 40 + 1) {
        write_file(path, bytes, length);
        assert_input_error(do_job(&job, &err), &err, "state/pretrain.safetensors");
    }
    for (size_t at = 0; at < n; at += at + 700 < n ? n / 40 : 7) { // the record at the end is watched more closely
        char *changed = malloc(n);
        assert_non_null(changed);
        memcpy(changed, bytes, n);
        changed[at] ^= 0x10;
        write_file(path, changed, n);
        free(changed);
        int status = do_job(&job, &err);
        if (!status) fail_msg("byte %zu of %zu was changed and nothing was noticed", at, n);
        assert_input_error(status, &err, "state/pretrain.safetensors");
    }
    write_file(path, bytes, n);
    assert_ok(do_job(&job, &err), &err);
    assert_done_like_the_reference("damaged");
    free(path), free(bytes);
}

static void a_finished_run_stays_as_it_is(void **state)
{
    (void)state;
    Err err = {0};
    char *path = file_of("reference", "provenance.json"), *before = read_file(path, NULL);
    assert_ok(do_job(&(Job){.name = "reference", .lr = "1e-2", .resume = true}, &err), &err);
    char *after = read_file(path, NULL);
    assert_string_equal(before, after);
    assert_input_error(do_job(&(Job){.name = "reference", .lr = "2e-2", .resume = true}, &err), &err, "--lr");
    free(path), free(before), free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_at_any_rename_changes_nothing),
        cmocka_unit_test(twice_at_each_rename_and_the_run_still_ends),
        cmocka_unit_test(a_full_disk_is_a_failure_and_the_run_goes_on_when_there_is_room),
        cmocka_unit_test(a_rename_that_fails_is_a_failure),
        cmocka_unit_test(other_settings_or_data_are_refused_by_name),
        cmocka_unit_test(a_cut_or_damaged_state_is_refused_by_name),
        cmocka_unit_test(a_finished_run_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
