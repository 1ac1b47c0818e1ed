// SPDX-License-Identifier: MIT
/* rope_rows.h - the two orders of a q or k matrix's rows. RoPE turns pairs of rows of a head: Hugging Face (and we) pair row i
 * with row i + head_dim/2, GGUF and llama2.c pair neighbours.
 *
 *     rope_rows_from_neighbours(matrix, heads, head_dim, cols, scratch);    // scratch [head_dim,cols]
 */
#ifndef RAFT_FILES_ROPE_ROWS_H
#define RAFT_FILES_ROPE_ROWS_H

#include <stddef.h>

// In place, matrix [heads*head_dim, cols].
void rope_rows_from_neighbours(float *matrix, size_t heads, size_t head_dim, size_t cols, float *scratch /* [head_dim,cols] */);
// The row, in our order, that stands at `row` where neighbours pair.
size_t rope_row_at_neighbours(size_t row, size_t head_dim);

#endif
