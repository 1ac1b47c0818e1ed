// SPDX-License-Identifier: MIT
/* fuzz_chat.h - fuzz targets of what chat models bring: each takes any bytes, returns 0, and crashes on a bug.
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_template(data, size); }
 */
#ifndef RAFT_TESTS_FUZZ_CHAT_H
#define RAFT_TESTS_FUZZ_CHAT_H

#include <stddef.h>
#include <stdint.h>

int fuzz_template(const uint8_t *data, size_t size);
int fuzz_tokenizer_json(const uint8_t *data, size_t size);
int fuzz_tokenizer_bin(const uint8_t *data, size_t size);

#endif
