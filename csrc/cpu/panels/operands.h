// What panel kernels take: quantized activations, unpacked slabs of weights, and the table of a
// level's kernels. A panel is sixteen rows of a weight, row = lane; a block is 256 values of k. The
// arithmetic, the same at every level, is in docs/numerics.md. Seen by units compiled for wide
// instructions: no C++ library, no inline functions.
#pragma once

#include <stdint.h>

namespace realm::cpu {

constexpr int kPanelRows = 16;
constexpr int kBlockValues = 256;
constexpr int kMaxFusedRows = 8;  // rows of activations that a fused kernel takes together
constexpr int kMaxFusedPanels = 2;
constexpr int kMaxTileRows = 4;
constexpr int kMaxTilePanels = 3;
constexpr int kMaxFloatRows = 8;
constexpr int kMaxFloatPanels = 8;
constexpr int kIntegerRows = 16;  // rows of activations that integer kernels may take together

// A dot with weights stored as unsigned `w + offset` starts at -offset * (sum of the activations):
// the sum is then exact, whatever the offset. Kept ready for the offsets in use. `signed` is the
// offset of a level whose dot instruction wants unsigned weights (128), or 0 where weights are
// signed.

// 256 activations of one row under one scale: for formats with 256 values to a superblock. What
// integer kernels read are the first five or six lines: caches fetch lines in pairs.
struct alignas(128) ActSuper {
  // Where integer kernels multiply pairs of sub-blocks: of each 64 values the first 32 and the
  // last, four of either in turn; and start_32_16 likewise.
  int8_t paired[256];
  alignas(64) float d;
  // Sums of each 32 or 16 values, paired as minimums lie in bytes of a word: 0 2, 1 3, 4 6, 5 7 ...
  int16_t pairs_32[8];
  int16_t pairs_16[16];
  alignas(64) int32_t start_paired[16];
  int8_t q[256];
  int32_t start_32_16[16];      // offset 32, for sub-blocks of 16
  int32_t start_signed_32[8];   // for sub-blocks of 32
  int32_t start_signed_16[16];  // for sub-blocks of 16
  float square[2];              // of each half, the sum of squares; where there are integer kernels
  float square_32, square_16;   // the largest sum of squares of 32 and of 16 values: likewise
};

// 256 activations of one row, a scale for each 32: for formats with 32 values to a block.
struct alignas(64) ActFine {
  int8_t q[256];
  int32_t start_signed[8], start_8[8], start_16[8];
  int32_t start_signed_16[16];  // for sub-blocks of 16
  float d[8];
  float sum[8];  // d * the sum of q
};

// How a level wants its slabs: how many values of k side by side, four or eight, and what signed
// weights are xored with.
struct SlabOrder {
  uint8_t run, flip;
};

// One block of a panel, unpacked: a byte for each weight. In runs of eight, a lane's values lie at
// 8 * lane of the 128 bytes from q[2 * (k / 8)] on.
struct alignas(64) Slab {
  uint8_t q[64][64];    // [k / 4][4 * lane + k % 4]
  float scale[16][16];  // [sub-block][lane]
  union {
    int16_t pairs[8][32];  // minimums as int16, paired as ActSuper's sums
    float minimum[8][16];
  };
  float d[16], dmin[16];
};

// For a unit that multiplies matrices of bytes: the integer scales of sub-blocks are folded into
// the weights, and each is low + 256 * high, or low + 8 * high of weights with minimums, which are
// not signed. In the order of Slab's q.
struct FoldedWeights {
  uint8_t low[64][64], high[64][64];
};
// For dots of two sub-blocks in neighbouring lanes: those of rows 4 i and 4 i + 1 in the even
// vectors, of the two rows after them in the odd ones. The order of k is ActSuper's `paired`, and
// that of scales the same, two of each lane side by side.
struct PairedWeights {
  uint8_t q[64][64];
  int16_t scale[8][32];
};
// The same block as a Slab's for kernels that add up all of it in integers. Only for kinds with one
// scale of activations.
struct alignas(64) IntegerSlab {
  union {
    FoldedWeights folded;
    PairedWeights paired;
  };
  int16_t pairs[8][32];  // as Slab's
  float d[16], dmin[16];
  // No row's sum of squares is larger: of each half of the block, scales in it, and of a
  // sub-block's weights alone where their dots must fit 16 bits (else 0). By Cauchy and Schwarz, no
  // sum of products with activations, in whatever order, is larger than the root of this times
  // theirs.
  float square[2], sub_square;
};
// Below this a product of two sums of squares leaves every sum of a half below 2^24, where floats
// add up exactly; and every dot of a sub-block in 16 bits.
constexpr float kExactSquares = 2.8e14f, kPackedSquares = 1.07e9f;

// How a slab is multiplied; the scale of activations, the width of sub-blocks, minimums or not.
enum class SlabKind : int {
  kSuper32,
  kSuper16,
  kSuper32Min,
  kSuper16Min,
  kFine32,
  kFine16,
  kFine32Min,
};
constexpr int kSlabKinds = 7;

// Formats with kernels that read their packed bits.
enum class Packed : int {
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4_NL,
  kMXFP4,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,
};
constexpr int kPackedFormats = 13;

enum class FloatPanel : int { kF16, kBF16, kF32 };
constexpr int kFloatPanels = 3;

// out[row][16 * panel + lane] of the kernel's number of panels, which lie `apart` bytes apart, and
// of rows, which lie `stride` floats apart. `acts` are ActSuper or ActFine, [block][act_rows];
// `n_blocks` counts the format's own blocks in a row.
using FusedKernel = void (*)(const uint8_t* panel, int64_t apart, const void* acts,
                             int64_t act_rows, int64_t n_blocks, float* out, int64_t stride);
// Unpacks block `block` of 256 values of a panel.
using ExpandKernel = void (*)(const uint8_t* panel, int64_t block, int64_t n_blocks, Slab* out);
using IntegerExpandKernel = void (*)(const uint8_t* panel, int64_t block, int64_t n_blocks,
                                     IntegerSlab* out);
// acc[row][panel * 16 + lane] += the slabs' block times consecutive rows of `acts`. `n_subs`
// sub-blocks are filled; `start` is the place of the dots' start values in an activation struct.
using TileKernel = void (*)(const Slab* slabs, const void* acts, int n_subs, int start, float* acc);
// acc[row][panel * 16 + lane] += panels' k values times rows of x, ascending k.
using FloatKernel = void (*)(const uint8_t* panels, int64_t panel_stride, const float* x,
                             int64_t x_stride, int64_t depth, float* acc);

// Lines of memory that are wanted soon: `lines` from `at` on, and as many from each `stride`
// further.
struct WantedLines {
  const uint8_t* at;
  int64_t stride;
  int lines;
};

// acc[row][panel * 16 + lane] += the block times rows of `acts`, of which those up to the next
// kIntegerRows may be read and added too; and lines are fetched for as many panels.
using IntegerKernel = void (*)(const IntegerSlab* slabs, int panels, const ActSuper* acts, int rows,
                               float* acc, WantedLines next);

// What a level adds that can add up whole blocks in integers; null is what it has not.
struct IntegerKernels {
  int panels;                  // that a call takes at most
  bool (*pays)(int64_t rows);  // for unpacking weights once more
  // In the thread that multiplies, before and after.
  void (*open)();
  void (*close)();
  void (*measure)(ActSuper* act);  // fills in what only these kernels read
  IntegerExpandKernel expand[kPackedFormats];
  void (*fold)(const Slab* slab, SlabKind kind, IntegerSlab* out);  // of formats without packing
  IntegerKernel multiply[kSlabKinds];
};

struct PanelKernels {
  const char* compiled_for;  // the level, as the build named it to the units
  void (*quantize_super)(const float* x, ActSuper* out);
  void (*quantize_fine)(const float* x, int n_values, ActFine* out);
  // Null where a level has no kernel for that many rows or panels; one row and one panel always
  // exist.
  FusedKernel fused[kPackedFormats][kMaxFusedRows + 1][kMaxFusedPanels + 1];
  ExpandKernel expand[kPackedFormats];
  int fused_start[kPackedFormats];  // TileKernel's `start` of an expanded slab
  TileKernel tile[kSlabKinds][kMaxTileRows + 1][kMaxTilePanels + 1];
  FloatKernel floats[kFloatPanels][kMaxFloatRows + 1][kMaxFloatPanels + 1];
  void (*widen[kFloatPanels])(const uint8_t* in, float* out, int64_t n);
  SlabOrder slab_order;
  IntegerKernels integer;
};

}  // namespace realm::cpu
