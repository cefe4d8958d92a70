// How a weight lies in memory for the panel kernels: a panel of sixteen rows, in which the rows'
// blocks are interleaved field by field. The bits are the file's, moved; packing can be undone, so
// a packed row still decodes to exactly the format's values. Pure functions over the caller's
// memory; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cpu/panels/operands.h"
#include "quant/formats.h"

namespace realm::cpu {

// What happens to a unit's bits on the way; each can be undone.
enum class Move {
  kAsIs,
  kFlipBytes,   // xor 128: signed bytes become unsigned with an offset
  kSpreadBits,  // a word of 32 fifth bits: bit 4 t + i goes to bit t of byte i
};

// Some bytes of a block. Unit i of all sixteen rows lie side by side.
struct Field {
  int offset, bytes, unit;
  Move move = Move::kAsIs;
};

struct PanelLayout {
  DType dtype;
  int group;        // blocks whose fields lie together, so that vectors stay aligned
  int slab_blocks;  // blocks in 256 values
  SlabKind slab_kind;
  std::optional<Packed> packed;  // which kernels read it; none: slabs are filled from whole blocks
  int n_fields;
  Field fields[5];
};

// Of every quantized format; null for floats.
const PanelLayout* find_panel_layout(DType dtype);
// Of the float formats that panels hold: F16, BF16, F32.
const PanelLayout* find_float_layout(DType dtype);

// Whether products read activations with a scale for each 32 values; else for 256.
bool has_fine_activations(const PanelLayout& layout);

// Bytes from a panel to the next for rows of `n_blocks`.
int64_t panel_bytes(const PanelLayout& layout, int64_t n_blocks);

// Packs `n_blocks` consecutive blocks of sixteen rows; a null row counts as zeros. They are whole
// groups, or the end of a row.
void pack(const PanelLayout& layout, const std::byte* const (&rows)[kPanelRows], int64_t n_blocks,
          uint8_t* out);

// The blocks first .. first + n - 1 of one row as the file has them.
void unpack(const PanelLayout& layout, const uint8_t* panel, int64_t n_blocks, int row,
            int64_t first, int64_t n, std::byte* out);

}  // namespace realm::cpu
