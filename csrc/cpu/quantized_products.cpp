// Quantized weights times int8 activations: up to eight rows straight from packed bits, more over
// slabs that are unpacked once for all rows, by tiles, or whole blocks in integers.
#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "cpu/panel_products.h"
#include "cpu/panel_sums.h"
#include "cpu/panels/fill_slab.h"

namespace realm::cpu {

namespace {

constexpr int64_t kFusedPanels = 8;  // whose sums are written together
// A weight of this many bytes pushes what was written out of the caches before anyone reads it: the
// output's lines would be fetched for nothing.
constexpr int64_t kStreamingWeight = 1 << 20;
// What stays in L2 beside each other: quantized activations of a run of blocks, and sums.
constexpr int64_t kActBytes = 1 << 20, kSumsBytes = 384 << 10;
constexpr int64_t kSuperBytesRead = 384;  // at most, of an ActSuper
constexpr int64_t kMaxSweepRows = 512, kSweepUnit = 32;

// A level's unit for integers, open in this thread for as long as this lives; null: nothing is.
class OpenUnit {
 public:
  explicit OpenUnit(const IntegerKernels* unit) : unit_(unit) {
    if (unit_ && unit_->open) unit_->open();
  }
  ~OpenUnit() {
    if (unit_ && unit_->close) unit_->close();
  }
  OpenUnit(const OpenUnit&) = delete;
  OpenUnit& operator=(const OpenUnit&) = delete;

 private:
  const IntegerKernels* const unit_;
};

// Quantized products of one weight with one input.
class QuantizedProduct {
 public:
  QuantizedProduct(const PanelKernels& kernels, const Product& product, const Activations& acts,
                   OutputUse use)
      : kernels_(kernels),
        product_(product),
        weight_(as_cpu(*product.weight.weight)),
        layout_(panel_layout(weight_.format())),
        acts_(acts),
        use_(use),
        integer_multiply_(find_integer_kernel()) {}

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
                                                                {counts.integer, integer_calls_},
                                                                {counts.tail, tail_calls_}};
    for (const auto& [total, calls] : sums) {
      if (calls > 0) total.fetch_add(calls, std::memory_order_relaxed);
    }
  }

 private:
  bool is_fine() const { return has_fine_activations(layout_); }
  const void* acts_at(int64_t block, int64_t row) const {
    if (is_fine()) return acts_.fine(block, row);
    return acts_.super(block, row);
  }
  // Of one block: what any kernel of many rows reads.
  int64_t act_bytes() const { return is_fine() ? sizeof(ActFine) : kSuperBytesRead; }

  // Sums are written when there are several lines of them for each row of the output.
  void run_fused(int64_t first, int64_t n) {
    const int64_t rows = acts_.in().rows;
    const int64_t weight_bytes = (product_.weight.n_rows / kPanelRows) * weight_.panel_stride();
    const bool streams = rows > 1 && weight_bytes >= kStreamingWeight && !use_.is_read_soon;
    alignas(64) float sums[kMaxFusedInput * kFusedPanels * kPanelRows];
    for (int64_t p = first; p < first + n; p += kFusedPanels) {
      const int64_t together = std::min(kFusedPanels, first + n - p);
      const int64_t stride = together * kPanelRows;
      for (int64_t i = 0; i < together;) {
        const int64_t panels = fused_panels(together - i);
        run_panels(p + i, panels, sums + i * kPanelRows, stride);
        i += panels;
      }
      (streams ? stream_sums : write_sums)(product_, sums, 0, rows, p, together);
    }
    if (streams) {
      finish_streams();
      streamed_calls_ = fused_calls_;
    }
  }

  const FusedKernel (&fused_kernels() const)[kMaxFusedRows + 1][kMaxFusedPanels + 1] {
    return kernels_.fused[static_cast<int>(*layout_.packed)];
  }
  // Panels that a kernel of all rows takes.
  int64_t fused_panels(int64_t left) const {
    int64_t panels = std::min<int64_t>(kMaxFusedPanels, left);
    while (panels > 1 && !fused_kernels()[acts_.in().rows][panels]) --panels;
    return panels;
  }

  void run_panels(int64_t panel, int64_t panels, float* sums, int64_t stride) {
    const int64_t rows = acts_.in().rows;
    for (int64_t row = 0; row < rows; ++fused_calls_) {
      int64_t r = rows - row;
      while (!fused_kernels()[r][panels]) --r;
      fused_kernels()[r][panels](weight_.panel(panel), weight_.panel_stride(), acts_at(0, row),
                                 rows, weight_.n_blocks(), sums + row * stride, stride);
      row += r;
    }
  }

  // Panels times rows.
  struct Sweep {
    int64_t first_panel, n_panels, first_row, n_rows;
  };

  void run_slabs(int64_t first, int64_t n) {
    const OpenUnit unit(integer_multiply_ ? &kernels_.integer : nullptr);
    const int64_t rows = acts_.in().rows;
    const int64_t sweeps = (rows + kMaxSweepRows - 1) / kMaxSweepRows;
    const int64_t sums_bytes = std::min(rows, kMaxSweepRows) * kPanelRows * sizeof(float);
    const int64_t stretch =
        std::max<int64_t>(kSumsBytes / sums_bytes / most_panels(), 1) * most_panels();
    const auto begin_of = [&](int64_t sweep) {  // whole tiles, but for the last
      return sweep < sweeps ? rows * sweep / sweeps / kSweepUnit * kSweepUnit : rows;
    };
    for (int64_t p = first; p < first + n; p += stretch) {
      const int64_t panels = std::min(stretch, first + n - p);
      for (int64_t s = 0; s < sweeps; ++s) {
        run_sweep({p, panels, begin_of(s), begin_of(s + 1) - begin_of(s)});
      }
    }
  }

  // A run of blocks is gone over by all panels before the next: its activations and the sums stay
  // in L2, and each block of weights is unpacked once.
  void run_sweep(const Sweep& sweep) {
    const int64_t rows = (sweep.n_rows + kIntegerRows - 1) / kIntegerRows * kIntegerRows;
    float* const sums = sums_of(rows, sweep.n_panels);
    const int64_t run = std::max<int64_t>(1, kActBytes / (rows * act_bytes()));
    for (int64_t block = 0; block < n_blocks(); block += run) {
      const int64_t end = std::min(n_blocks(), block + run);
      const std::vector<Squares> squares = squares_of(block, end, sweep);
      for (int64_t i = 0; i < sweep.n_panels;) {
        const int panels = panels_together(sweep.n_panels - i);
        Part part = {sweep.first_panel + i, panels, sweep.first_row, sweep.n_rows,
                     sums + rows * i * kPanelRows};
        i += panels;
        const WantedLines then = i < sweep.n_panels ? blocks_at(part.panel + panels, panels, block)
                                                    : blocks_at(sweep.first_panel, panels, end);
        for (int64_t b = block; b < end; ++b) {
          if (integer_multiply_) part.acts = &squares[static_cast<size_t>(b - block)];
          multiply_block(b, part, b + 1 < end ? blocks_at(part.panel, panels, b + 1) : then);
        }
      }
    }
    finish_streams();
  }

  // Of all rows of each block, for integer kernels.
  std::vector<Squares> squares_of(int64_t block, int64_t end, const Sweep& sweep) const {
    std::vector<Squares> squares;
    for (int64_t b = block; integer_multiply_ && b < end; ++b) {
      squares.push_back(squares_of(b, sweep.first_row, sweep.n_rows));
    }
    return squares;
  }

  int panels_together(int64_t left) const {
    auto panels = static_cast<int>(std::min<int64_t>(most_panels(), left));
    while (!integer_multiply_ && !tiles()[1][panels]) --panels;
    return panels;
  }

  // Panels that are unpacked together, and their sums.
  struct Part {
    int64_t panel;
    int panels;
    int64_t first_row, rows;
    float* sums;
    const Squares* acts = nullptr;  // of all these rows of the block at hand
  };

  // Sums are zeroed just before a row's first block and moved just after its last, while they are
  // in L1; the machine writes outputs out beside the products of the rows that follow.
  template <class Multiply>
  void for_rows(int64_t block, const Part& part, Multiply multiply) {
    const bool is_first = block == 0, is_last = block + 1 == n_blocks();
    const int64_t step = is_first || is_last ? kRowsMoved : part.rows;
    for (int64_t row = 0; row < part.rows; row += step) {
      const int64_t n = std::min(step, part.rows - row);
      if (is_first) zero_sums(part, row, n);
      multiply(row, n);
      if (is_last) move_sums(part, row, n);
    }
  }

  // And of the rows that integer kernels may add to beyond.
  void zero_sums(const Part& part, int64_t row, int64_t n) const {
    const int64_t rows = (n + kIntegerRows - 1) / kIntegerRows * kIntegerRows;
    const int64_t lanes = part.panels * kPanelRows;
    std::fill_n(part.sums + row * lanes, rows * lanes, 0.0f);
  }

  void move_sums(const Part& part, int64_t row, int64_t n) const {
    float* const sums = part.sums + row * part.panels * kPanelRows;
    const int64_t first = part.first_row + row;
    if (use_.completion) {
      stream_completed(product_, sums, first, n, part.panel, part.panels, *use_.completion);
    } else {
      stream_sums(product_, sums, first, n, part.panel, part.panels);
    }
  }

  void multiply_block(int64_t block, const Part& part, const WantedLines& next) {
    if (integer_multiply_) return multiply_in_integers(block, part, next);
    thread_local Slab slabs[kMaxTilePanels];
    unpack(part.panel, part.panels, block, slabs);
    for_rows(block, part, [&](int64_t row, int64_t n) {
      multiply_by_tiles(slabs, block, part, row, n, share_of(next, row, n, part.rows));
    });
  }

  // By tiles where integers might not be what the arithmetic's floats are.
  void multiply_in_integers(int64_t block, const Part& part, const WantedLines& next) {
    thread_local IntegerSlab packed[kMaxTilePanels];
    thread_local Slab slabs[kMaxTilePanels];
    unpack(part.panel, part.panels, block, packed);
    const bool all_exact = is_exact(packed, part.panels, *part.acts);
    bool is_unpacked = false;
    for_rows(block, part, [&](int64_t first, int64_t rows) {
      const int64_t step = all_exact ? rows : kIntegerRows, end = first + rows;
      for (int64_t row = first; row < end; row += step) {
        const int64_t n = std::min(step, end - row);
        const WantedLines share = share_of(next, row, n, part.rows);
        if (all_exact ||
            is_exact(packed, part.panels, squares_of(block, part.first_row + row, n))) {
          multiply_in_integers(packed, block, part, row, n, share);
          continue;
        }
        if (!is_unpacked) unpack(part.panel, part.panels, block, slabs);
        is_unpacked = true;
        multiply_by_tiles(slabs, block, part, row, n, share);
      }
    });
  }

  void multiply_in_integers(const IntegerSlab* slabs, int64_t block, const Part& part, int64_t row,
                            int64_t n, const WantedLines& next) {
    integer_multiply_(slabs, part.panels, acts_.super(block, part.first_row + row),
                      static_cast<int>(n), part.sums + row * part.panels * kPanelRows, next);
    ++integer_calls_;
  }

  // Sweeps begin with whole groups of rows.
  Squares squares_of(int64_t block, int64_t row, int64_t rows) const {
    Squares squares;
    for (int64_t r = row; r < row + rows; r += kIntegerRows) {
      squares.include(acts_.squares(block, r));
    }
    return squares;
  }

  // Whether the integers are what the arithmetic's floats would be.
  bool is_exact(const IntegerSlab* slabs, int panels, const Squares& acts) const {
    const bool is_by_16 =
        layout_.slab_kind == SlabKind::kSuper16 || layout_.slab_kind == SlabKind::kSuper16Min;
    const float of_subs = is_by_16 ? acts.of_subs_16 : acts.of_subs_32;
    return std::all_of(slabs, slabs + panels, [&](const IntegerSlab& slab) {
      return slab.square[0] * acts.of_halves[0] < kExactSquares &&
             slab.square[1] * acts.of_halves[1] < kExactSquares &&
             slab.sub_square * of_subs < kPackedSquares;
    });
  }

  // A tile of rows fetches its share of what is wanted next.
  void multiply_by_tiles(const Slab* slabs, int64_t block, const Part& part, int64_t first_row,
                         int64_t rows, const WantedLines& next) {
    const int subs = filled_subs(block), start = start_place();
    for (int64_t row = first_row; row < first_row + rows;) {
      int64_t r = std::min<int64_t>(kMaxTileRows, first_row + rows - row);
      while (!tiles()[r][part.panels]) --r;
      fetch(share_of(next, row - first_row, r, rows), part.panels);
      tiles()[r][part.panels](slabs, acts_at(block, part.first_row + row), subs, start,
                              part.sums + row * part.panels * kPanelRows);
      ++(r == kMaxTileRows && part.panels == most_panels() ? slab_calls_ : tail_calls_);
      row += r;
    }
  }

  // A block of some panels that is unpacked soon.
  WantedLines blocks_at(int64_t panel, int panels, int64_t block) const {
    if (!weight_.is_packed() || block == n_blocks() ||
        (panel + panels) * kPanelRows > weight_.rows()) {
      return {};
    }
    const int64_t bytes = weight_.panel_stride() / n_blocks();
    return {weight_.panel(panel) + block * bytes, weight_.panel_stride(),
            static_cast<int>((bytes + 63) / 64)};
  }

  // What falls to `n` of `rows` rows, from `row` on. All at once would hold up the loads that hit
  // the caches.
  static WantedLines share_of(const WantedLines& all, int64_t row, int64_t n, int64_t rows) {
    const int64_t first = all.lines * row / rows, end = all.lines * (row + n) / rows;
    return {all.at + 64 * first, all.stride, static_cast<int>(end - first)};
  }
  static void fetch(const WantedLines& wanted, int panels) {
    for (int i = 0; i < panels; ++i) {
      for (int k = 0; k < wanted.lines; ++k) {
        __builtin_prefetch(wanted.at + i * wanted.stride + 64 * k, 0, 2);
      }
    }
  }

  // One block of some panels, for tiles or for integer kernels.
  void unpack(int64_t panel, int panels, int64_t block, Slab* slabs) const {
    for (int i = 0; i < panels; ++i) {
      if (layout_.packed) {
        expand(kernels_.expand[static_cast<int>(*layout_.packed)], panel + i, block, slabs + i);
      } else {
        fill_from_blocks(panel + i, block * layout_.slab_blocks, slabs[i]);
      }
    }
  }
  void unpack(int64_t panel, int panels, int64_t block, IntegerSlab* slabs) const {
    for (int i = 0; i < panels; ++i) {
      if (layout_.packed) {
        expand(kernels_.integer.expand[static_cast<int>(*layout_.packed)], panel + i, block,
               slabs + i);
      } else {
        thread_local Slab filled;
        fill_from_blocks(panel + i, block * layout_.slab_blocks, filled);
        kernels_.integer.fold(&filled, layout_.slab_kind, slabs + i);
      }
    }
  }

  // From packed bits, or from the file's layout by packing one group first.
  template <class Kernel, class Out>
  void expand(Kernel kernel, int64_t panel, int64_t block, Out* out) const {
    const int64_t first = block * layout_.slab_blocks, row_blocks = weight_.n_blocks();
    if (weight_.is_packed()) return kernel(weight_.panel(panel), block, row_blocks, out);
    alignas(64) thread_local uint8_t scratch[2 * 16 * 8 * 34];  // the largest group
    const int64_t group = first / layout_.group * layout_.group;
    const int64_t n = std::min<int64_t>(layout_.group, row_blocks - group);
    pack(layout_, RowBlocks(weight_, panel, group).rows, n, scratch);
    kernel(scratch, (first - group) / layout_.slab_blocks, n, out);
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
  int most_panels() const {
    if (integer_multiply_) return kernels_.integer.panels;
    return tiles()[1][kMaxTilePanels] ? kMaxTilePanels : 1;
  }
  // Null: none for these weights, or it does not pay for these rows.
  IntegerKernel find_integer_kernel() const {
    const IntegerKernels& integer = kernels_.integer;
    if (!integer.pays || !integer.pays(acts_.in().rows)) return nullptr;
    const bool can_unpack = layout_.packed
                                ? integer.expand[static_cast<int>(*layout_.packed)] != nullptr
                                : integer.fold != nullptr;
    return can_unpack ? integer.multiply[static_cast<int>(layout_.slab_kind)] : nullptr;
  }

  const PanelKernels& kernels_;
  const Product& product_;
  const CpuWeight& weight_;
  const PanelLayout& layout_;
  const Activations& acts_;
  const OutputUse use_;
  const IntegerKernel integer_multiply_;
  uint64_t fused_calls_ = 0, streamed_calls_ = 0;
  uint64_t slab_calls_ = 0, integer_calls_ = 0, tail_calls_ = 0;
};

}  // namespace

void multiply_quantized_panels(const PanelKernels& kernels, const Product& product,
                               const Activations& acts, int64_t first, int64_t n, OutputUse use,
                               PathCounts& counts) {
  QuantizedProduct quantized(kernels, product, acts, use);
  quantized.run(first, n);
  quantized.add_to(counts);
}

}  // namespace realm::cpu
