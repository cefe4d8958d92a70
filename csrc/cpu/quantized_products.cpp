// Quantized weights times int8 activations: up to eight rows straight from packed bits, more over
// slabs that are unpacked once for all rows, by tiles or on a unit for matrices.
#include <algorithm>
#include <cstddef>
#include <utility>

#include "cpu/panel_products.h"
#include "cpu/panel_sums.h"
#include "cpu/panels/fill_slab.h"

namespace realm::cpu {

namespace {

constexpr int64_t kFusedPanels = 8;  // whose sums are written together
// A weight of this many bytes pushes what was written out of the caches before anyone reads it: the
// output's lines would be fetched for nothing.
constexpr int64_t kStreamingWeight = 1 << 20;
constexpr int64_t kSweepBytes = 1 << 20;  // quantized activations of a sweep: they stay in L2
constexpr int64_t kMaxSweepRows = 512;
constexpr int64_t kLeastMatrixRows = 32;      // fewer do not pay for folding a slab
constexpr int64_t kStretchBytes = 384 << 10;  // packed weights that every sweep goes over

// Packed blocks that are wanted soon: fetched a few lines at a time, between tiles, since all at
// once hold up the loads that hit the caches.
struct NextBlocks {
  const uint8_t* at = nullptr;
  int64_t stride = 0, lines = 0;  // from a panel to the next; of each panel's block
  int panels = 0;
  int64_t fetched = 0;

  void fetch(int64_t end) {
    for (; fetched < end; ++fetched) {
      for (int i = 0; i < panels; ++i) __builtin_prefetch(at + i * stride + 64 * fetched, 0, 2);
    }
  }
};

// The matrix unit of a level, open in this thread for as long as this lives; null: nothing is.
class OpenMatrixUnit {
 public:
  explicit OpenMatrixUnit(const MatrixKernels* unit) : unit_(unit) {
    if (unit_) unit_->open();
  }
  ~OpenMatrixUnit() {
    if (unit_) unit_->close();
  }
  OpenMatrixUnit(const OpenMatrixUnit&) = delete;
  OpenMatrixUnit& operator=(const OpenMatrixUnit&) = delete;

 private:
  const MatrixKernels* const unit_;
};

// Quantized products of one weight with one input.
class QuantizedProduct {
 public:
  QuantizedProduct(const PanelKernels& kernels, const Product& product, const Activations& acts)
      : kernels_(kernels),
        product_(product),
        weight_(as_cpu(*product.weight.weight)),
        layout_(panel_layout(weight_.format())),
        acts_(acts),
        unit_multiply_(acts.in().rows < kLeastMatrixRows
                           ? nullptr
                           : kernels.matrix.multiply[static_cast<int>(layout_.slab_kind)]) {}

  void run(int64_t first, int64_t n) {
    if (weight_.is_packed() && layout_.packed && acts_.in().rows <= kMaxFusedInput) {
      run_fused(first, n);
    } else {
      run_slabs(first, n);
    }
  }

  // An atomic sum waits for outputs that are still on their way: only what is not zero is added.
  void add_to(PathCounts& counts) const {
    const std::pair<std::atomic<uint64_t>&, uint64_t> sums[] = {{counts.fused, fused_calls_},
                                                                {counts.streamed, streamed_calls_},
                                                                {counts.slab, slab_calls_},
                                                                {counts.matrix, matrix_calls_},
                                                                {counts.tail, tail_calls_}};
    for (const auto& [total, calls] : sums) {
      if (calls > 0) total.fetch_add(calls, std::memory_order_relaxed);
    }
  }

 private:
  // One block of some panels.
  struct Slabs {
    Slab plain[kMaxTilePanels];
    FoldedSlab folded[kMaxTilePanels];  // where the matrix unit multiplies
  };

  bool is_fine() const { return has_fine_activations(layout_); }
  const void* acts_at(int64_t block, int64_t row) const {
    if (is_fine()) return acts_.fine(block, row);
    return acts_.super(block, row);
  }
  size_t act_bytes() const { return is_fine() ? sizeof(ActFine) : sizeof(ActSuper); }

  // Sums are written when there are several lines of them for each row of the output.
  void run_fused(int64_t first, int64_t n) {
    const int64_t rows = acts_.in().rows;
    const int64_t weight_bytes = (product_.weight.n_rows / kPanelRows) * weight_.panel_stride();
    const bool streams = rows > 1 && weight_bytes >= kStreamingWeight;
    alignas(64) float sums[kMaxFusedInput * kFusedPanels * kPanelRows];
    for (int64_t p = first; p < first + n; p += kFusedPanels) {
      const int64_t together = std::min(kFusedPanels, first + n - p);
      const int64_t stride = together * kPanelRows;
      for (int64_t i = 0; i < together; ++i) run_panel(p + i, sums + i * kPanelRows, stride);
      (streams ? stream_sums : write_sums)(product_, sums, 0, rows, p, together);
    }
    if (streams) {
      finish_streams();
      streamed_calls_ = fused_calls_;
    }
  }

  void run_panel(int64_t panel, float* sums, int64_t stride) {
    const auto& table = kernels_.fused[static_cast<int>(*layout_.packed)];
    const int64_t rows = acts_.in().rows;
    for (int64_t row = 0; row < rows; ++fused_calls_) {
      int64_t r = rows - row;
      while (!table[r]) --r;
      table[r](weight_.panel(panel), acts_at(0, row), rows, weight_.n_blocks(), sums + row * stride,
               stride);
      row += r;
    }
  }

  // Rows by sweeps whose activations stay in L2, panels by stretches whose packed bits do: each
  // sweep but the first finds a stretch's weights there.
  void run_slabs(int64_t first, int64_t n) {
    const OpenMatrixUnit unit(unit_multiply_ ? &kernels_.matrix : nullptr);
    const int64_t panel_bytes = kPanelRows * weight_.n_blocks() * weight_.format().block_bytes;
    const int64_t stretch =
        std::max<int64_t>(1, kStretchBytes / (kMaxTilePanels * panel_bytes)) * kMaxTilePanels;
    for (int64_t p = first; p < first + n; p += stretch) {
      run_stretch(p, std::min(stretch, first + n - p));
    }
  }

  void run_stretch(int64_t first, int64_t n) {
    const int64_t rows = acts_.in().rows, blocks = n_blocks();
    const auto most = std::clamp<int64_t>(
        kSweepBytes / (blocks * static_cast<int64_t>(act_bytes())), kMaxTileRows, kMaxSweepRows);
    const int64_t tiles_of_rows = (rows + kMaxTileRows - 1) / kMaxTileRows;
    const int64_t sweeps = (rows + most - 1) / most;
    for (int64_t s = 0; s < sweeps; ++s) {  // of whole tiles, but for the last
      const int64_t from = tiles_of_rows * s / sweeps * kMaxTileRows;
      const int64_t to = std::min(rows, tiles_of_rows * (s + 1) / sweeps * kMaxTileRows);
      for (int64_t p = first; p < first + n;) {
        int64_t together = std::min<int64_t>(kMaxTilePanels, first + n - p);
        while (!tiles()[1][together]) --together;
        run_sweep(p, static_cast<int>(together), from, to - from);
        p += together;
      }
    }
  }

  void run_sweep(int64_t panel, int panels, int64_t first_row, int64_t rows) {
    thread_local Slabs slabs;
    float* sums = zeroed_sums((rows + kMatrixRows - 1) / kMatrixRows * kMatrixRows, panels);
    for (int64_t block = 0; block < n_blocks(); ++block) {
      for (int i = 0; i < panels; ++i) unpack_slab(panel + i, block, slabs, i);
      NextBlocks next = blocks_after(panel, panels, block);
      multiply_slabs(slabs, block, panel, panels, first_row, rows, next, sums);
    }
    write_sums(product_, sums, first_row, rows, panel, panels);
  }

  void multiply_slabs(const Slabs& slabs, int64_t block, int64_t panel, int panels,
                      int64_t first_row, int64_t rows, NextBlocks& next, float* sums) {
    const bool is_last = block + 1 == n_blocks();
    const int64_t together = unit_multiply_ ? kMatrixRows : kMaxTileRows;
    for (int64_t row = 0; row < rows; row += together) {
      const int64_t n = std::min(together, rows - row);
      next.fetch(next.lines * (row + n) / rows);
      if (is_last) fetch_outputs(product_, first_row + row, n, panel, panels);
      float* to = sums + row * panels * kPanelRows;
      if (unit_multiply_ && sums_are_exact(slabs, panels, block, first_row + row, n)) {
        unit_multiply_(slabs.plain, slabs.folded, panels, acts_.super(block, first_row + row), to);
        ++matrix_calls_;
      } else {
        multiply_by_tiles(slabs.plain, block, panels, first_row + row, n, to);
      }
    }
  }

  void multiply_by_tiles(const Slab* slabs, int64_t block, int panels, int64_t first_row,
                         int64_t rows, float* sums) {
    const int subs = filled_subs(block), start = start_place();
    for (int64_t row = 0; row < rows;) {
      int64_t r = std::min<int64_t>(kMaxTileRows, rows - row);
      while (!tiles()[r][panels]) --r;
      tiles()[r][panels](slabs, acts_at(block, first_row + row), subs, start,
                         sums + row * panels * kPanelRows);
      ++(r == kMaxTileRows && panels == most_panels() ? slab_calls_ : tail_calls_);
      row += r;
    }
  }

  // Whether a matrix unit's integers are what the arithmetic's floats would be (FoldedSlab).
  bool sums_are_exact(const Slabs& slabs, int panels, int64_t block, int64_t row,
                      int64_t rows) const {
    float of_weights[2] = {}, of_acts[2] = {};
    for (int i = 0; i < panels; ++i) take_larger(of_weights, slabs.folded[i].square);
    for (int64_t r = 0; r < rows; ++r) take_larger(of_acts, acts_.super(block, row + r)->square);
    return of_weights[0] * of_acts[0] < kExactSquares && of_weights[1] * of_acts[1] < kExactSquares;
  }

  // What is unpacked after a block: the panels' next block, or the first one of the next panels.
  NextBlocks blocks_after(int64_t panel, int panels, int64_t block) const {
    const bool is_last = block + 1 == n_blocks();
    if (!weight_.is_packed() || (is_last && (panel + 2 * panels) * kPanelRows > weight_.rows())) {
      return {};
    }
    const int64_t bytes = weight_.panel_stride() / n_blocks();
    const uint8_t* at =
        is_last ? weight_.panel(panel + panels) : weight_.panel(panel) + (block + 1) * bytes;
    return {at, weight_.panel_stride(), (bytes + 63) / 64, panels};
  }

  static void take_larger(float (&largest)[2], const float (&squares)[2]) {
    for (int half = 0; half < 2; ++half) largest[half] = std::max(largest[half], squares[half]);
  }

  void unpack_slab(int64_t panel, int64_t block, Slabs& slabs, int i) const {
    unpack_slab(panel, block, slabs.plain[i]);
    if (unit_multiply_) {
      kernels_.matrix.fold(&slabs.plain[i], layout_.slab_kind, start_place(), &slabs.folded[i]);
    }
  }

  // From packed bits; from the file's layout by packing one group first; or from whole blocks.
  void unpack_slab(int64_t panel, int64_t block, Slab& out) const {
    const int64_t first = block * layout_.slab_blocks, row_blocks = weight_.n_blocks();
    if (!layout_.packed) return fill_from_blocks(panel, first, out);
    const ExpandKernel expand = kernels_.expand[static_cast<int>(*layout_.packed)];
    if (weight_.is_packed()) return expand(weight_.panel(panel), block, row_blocks, &out);
    alignas(64) thread_local uint8_t scratch[2 * 16 * 8 * 34];  // the largest group
    const int64_t group = first / layout_.group * layout_.group;
    const int64_t n = std::min<int64_t>(layout_.group, row_blocks - group);
    pack(layout_, RowBlocks(weight_, panel, group).rows, n, scratch);
    expand(scratch, (first - group) / layout_.slab_blocks, n, &out);
  }

  void fill_from_blocks(int64_t panel, int64_t block, Slab& out) const {
    const auto bytes = static_cast<int64_t>(weight_.format().block_bytes);
    const auto n =
        static_cast<int>(std::min<int64_t>(layout_.slab_blocks, weight_.n_blocks() - block));
    if (!weight_.is_packed()) {
      const RowBlocks blocks(weight_, panel, block);
      return fill_slab(layout_.dtype, blocks.rows, n, bytes, kernels_.slab_order, out);
    }
    const std::byte* rows[kPanelRows];
    for (int r = 0; r < kPanelRows; ++r) {
      rows[r] = reinterpret_cast<const std::byte*>(weight_.panel(panel)) +
                (block * kPanelRows + r) * bytes;
    }
    fill_slab(layout_.dtype, rows, n, bytes * kPanelRows, kernels_.slab_order, out);
  }

  int64_t n_blocks() const {
    return (weight_.n_blocks() + layout_.slab_blocks - 1) / layout_.slab_blocks;
  }
  // Sub-blocks of a block that hold values: fewer at the end of a row of small blocks.
  int filled_subs(int64_t block) const {
    const int64_t values = std::min<int64_t>(kBlockValues, weight_.cols() - block * kBlockValues);
    return static_cast<int>(values / (layout_.slab_kind == SlabKind::kFine16 ? 16 : 32));
  }
  int start_place() const {
    if (layout_.packed) return kernels_.fused_start[static_cast<int>(*layout_.packed)];
    if (layout_.slab_kind == SlabKind::kSuper32) return offsetof(ActSuper, start_signed_32);
    if (layout_.slab_kind == SlabKind::kSuper16) return offsetof(ActSuper, start_signed_16);
    return offsetof(ActFine, start_signed_16);
  }
  const TileKernel (&tiles() const)[kMaxTileRows + 1][kMaxTilePanels + 1] {
    return kernels_.tile[static_cast<int>(layout_.slab_kind)];
  }
  int most_panels() const { return tiles()[1][kMaxTilePanels] ? kMaxTilePanels : 1; }

  const PanelKernels& kernels_;
  const Product& product_;
  const CpuWeight& weight_;
  const PanelLayout& layout_;
  const Activations& acts_;
  void (*const unit_multiply_)(const Slab*, const FoldedSlab*, int, const ActSuper*, float*);
  uint64_t fused_calls_ = 0, streamed_calls_ = 0;
  uint64_t slab_calls_ = 0, matrix_calls_ = 0, tail_calls_ = 0;
};

}  // namespace

void multiply_quantized_panels(const PanelKernels& kernels, const Product& product,
                               const Activations& acts, int64_t first, int64_t n,
                               PathCounts& counts) {
  QuantizedProduct quantized(kernels, product, acts);
  quantized.run(first, n);
  quantized.add_to(counts);
}

}  // namespace realm::cpu
