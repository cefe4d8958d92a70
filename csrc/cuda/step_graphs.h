// Small steps as CUDA graphs. A step is known by its form: rows, rows wanted, the cache, and its
// numbers of pages and tiles rounded up. The first step of a form is issued op by op, the second is
// captured, and every later one is one upload of what its kernels read (tokens, positions, slots,
// pages, tiles) to where they expect it, and one launch. Kernels pass over what rounding added: a
// tile without queries.
//
// What ops make of a step's adapters for kernels to read, their tables, lies at one place for all
// graphs too, and what decides the launches is part of the form. When other adapters stand on the
// rows than in the step before, the tables are planned by a walk over the ops in which nothing is
// launched, and uploaded; while members stay, both are left out. So nothing of an adapter is kept
// but addresses in tables that are read in steps of that adapter alone.
//
// A graph is launches with their arguments by value, so it is good as long as those would be issued
// again: weights and the decoder's memory live as long as this, the cache is part of the form, and
// if working memory of the backend has moved all graphs go. What cannot be kept is issued op by op
// and counted (CudaBackend::path_counts); an error while capturing never loses the device.
#pragma once

#include <vector>

#include "cuda/cuda_backend.h"

namespace realm::cuda {

class StepGraphs final : public StepRecorder {
 public:
  static constexpr size_t kMaxGraphs = 32;  // the one used longest ago goes
  static constexpr size_t kMaxSeen = 64;    // forms that have no graph
  static constexpr int64_t kMaxRows = 128;  // above, kernels take longer than their launches
  static constexpr uint64_t kMaxTableBytes = 16 << 20;  // of a step's adapters
  static constexpr int64_t kLeastTiles = 16;            // of a rounded number, pages as well

  explicit StepGraphs(CudaBackend& backend) : backend_(backend) {}
  ~StepGraphs() override;
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  void run(const StepBatch& step, std::span<const KvLayer> cache, const AdaptersOnRows& adapters,
           const std::function<void()>& issue) override;

  static int64_t rounded(int64_t n);

  // ---- what ops ask while the step is issued
  bool is_capturing() const { return is_capturing_; }
  bool is_planning() const { return is_planning_; }
  // Which tiles the layers of the decoder need: learnt from steps that are issued op by op.
  void note_tiles(const StepBatch& step, const gpu::TileOptions& options);
  // Where a captured step's kernels find what the step changes. Throw kInternal for what is not of
  // the step, which ends the capture.
  const int32_t* words_of(std::span<const int32_t> words) const;
  StepRows rows_of(const StepBatch& step) const;
  CudaBackend::Tiles tiles_of(const StepBatch& step, const gpu::TileOptions& options) const;
  // A table that an op makes of the step's adapters, and numbers on which its launches depend
  // besides. While the step is planned it is taken, and null comes back; while it is captured,
  // where it lies.
  const std::byte* table(std::span<const std::byte> bytes, std::initializer_list<int64_t> form);
  // For every other op, while the step is planned.
  void pass_op() { ++n_ops_; }

 private:
  using Form = std::vector<int64_t>;
  struct Entry {
    Form form, table_form;
    Graph graph = nullptr;    // null: issued op by op so far
    bool is_refused = false;  // and for good
    uint64_t last_used = 0;
  };
  // A kind of layer: over the pages of windows or the others, its tiles cut in one way.
  struct TileKind {
    bool in_window;
    gpu::TileOptions options;
    bool operator==(const TileKind&) const = default;
  };
  struct SplitPlace {
    size_t tiles, merges;  // in words_
    int64_t n_tiles, n_merges;
  };

  bool in_window(const StepBatch& step) const;
  bool lay_out(const StepBatch& step, std::span<const KvLayer> cache,
               const AdaptersOnRows& adapters);
  bool plan_tables(const AdaptersOnRows& adapters, const std::function<void()>& issue);
  size_t append(std::span<const int32_t> words, int64_t room);
  size_t append_rows(const StepBatch& step);
  bool append_tiles(const StepBatch& step, const TileKind& kind);
  void reserve(std::unique_ptr<DeviceBuffer>& memory, uint64_t bytes);
  void reserve_inputs();
  void upload_inputs();
  void drop_if_memory_moved();
  void drop_graphs();
  Entry* find();
  void forget_oldest(bool with_graph, size_t most);
  void issue_first(const StepBatch& step, std::span<const KvLayer> cache,
                   const AdaptersOnRows& adapters, const std::function<void()>& issue);
  void issue_eagerly(const std::function<void()>& issue);
  void capture(Entry& entry, const std::function<void()>& issue);
  Graph captured(const std::function<void()>& issue);
  void replay(Entry& entry);

  CudaBackend& backend_;
  std::vector<TileKind> kinds_;
  std::vector<Entry> entries_;
  // Of the step's words and of its tables, at one place for all graphs.
  std::unique_ptr<DeviceBuffer> memory_, table_memory_;
  uint64_t n_moves_ = 0;  // of working memory, when the graphs were captured
  uint64_t clock_ = 0;

  // Of the present step: what is uploaded, where in it the pieces lie, and its form.
  const StepBatch* step_ = nullptr;
  bool is_capturing_ = false, is_planning_ = false;
  std::vector<int32_t> words_;
  size_t tokens_ = 0, positions_ = 0, wanted_ = 0, rows_[2] = {};
  std::vector<std::vector<SplitPlace>> tiles_;  // of each kind
  Form form_;

  // Of the step that was planned last, and by which rows and adapters it is known.
  std::vector<uint64_t> planned_, planning_;
  std::vector<std::byte> tables_;
  Form table_form_;
  bool tables_are_uploaded_ = false;
  size_t n_ops_ = 0;       // while planning
  size_t next_table_ = 0;  // while capturing: where in tables_
};

}  // namespace realm::cuda
