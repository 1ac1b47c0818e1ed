// SPDX-License-Identifier: MIT
/* llama2c.h - the model files of karpathy/llama2.c (legacy export, version 0): seven numbers, then float32 weights.
 *
 *     Model model;
 *     if (llama2c_load(&model, "stories260K.bin", &err)) return -1;    // its vocabulary is a file of its own: tokenizer.bin
 *
 * The file names neither norm epsilon nor RoPE base: they are those of llama2.c's run.c, 1e-5 and 10000.
 */
#ifndef RAFT_FILES_LLAMA2C_H
#define RAFT_FILES_LLAMA2C_H

#include "model.h"

int llama2c_load(Model *model, const char *path, Err *err);

#endif
