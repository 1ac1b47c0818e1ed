// SPDX-License-Identifier: MIT
/* rope_rows.c - rows of q and k in the order in which RoPE pairs them. Row h*hd + 2i + s of neighbours is h*hd + s*hd/2 + i here. */
#include "files/rope_rows.h"

#include <string.h>

size_t rope_row_at_neighbours(size_t row, size_t head_dim)
{
    size_t in_head = row % head_dim;
    return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

void rope_rows_from_neighbours(float *matrix, size_t heads, size_t head_dim, size_t cols, float *scratch)
{
    for (size_t h = 0; h < heads; h++) {
        float *head = matrix + h * head_dim * cols;
        memcpy(scratch, head, head_dim * cols * sizeof *scratch);
        for (size_t r = 0; r < head_dim; r++)
            memcpy(head + rope_row_at_neighbours(r, head_dim) * cols, scratch + r * cols, cols * sizeof *scratch);
    }
}
