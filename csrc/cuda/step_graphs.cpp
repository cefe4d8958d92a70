#include "cuda/step_graphs.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

constexpr uint64_t kLeastBytes = 64 << 10;  // of a step's words

template <class Item>
std::span<const int32_t> as_words(const std::vector<Item>& items) {
  static_assert(sizeof(Item) % sizeof(int32_t) == 0);
  return {reinterpret_cast<const int32_t*>(items.data()),
          items.size() * sizeof(Item) / sizeof(int32_t)};
}

bool overlap(std::span<const int32_t> a, std::span<const int32_t> b) {
  const std::less<const int32_t*> before;
  return before(a.data(), b.data() + b.size()) && before(b.data(), a.data() + a.size());
}

// An op's words are told apart by where they stand.
bool arrays_overlap(const StepBatch& step) {
  return overlap(step.tokens, step.positions) || overlap(step.tokens, step.rows_wanted) ||
         overlap(step.positions, step.rows_wanted);
}

constexpr uint64_t table_room(uint64_t bytes) {
  return (bytes + 15) / 16 * 16;
}

// Sets a flag for as long as this lives.
class Raised {
 public:
  explicit Raised(bool& flag) : flag_(flag) { flag_ = true; }
  ~Raised() { flag_ = false; }

 private:
  bool& flag_;
};

// Names whose step the backend issues for as long as this lives.
class Issuing {
 public:
  Issuing(StepGraphs*& place, StepGraphs* graphs) : place_(place) { place_ = graphs; }
  ~Issuing() { place_ = nullptr; }

 private:
  StepGraphs*& place_;
};

}  // namespace

StepGraphs::~StepGraphs() {
  drop_graphs();
}

int64_t StepGraphs::rounded(int64_t n) {
  return std::max(kLeastTiles, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))));
}

void StepGraphs::run(const StepBatch& step, std::span<const KvLayer> cache,
                     const AdaptersOnRows& adapters, const std::function<void()>& issue) {
  step_ = &step;
  if (!lay_out(step, cache, adapters) || !plan_tables(adapters, issue)) return issue_eagerly(issue);
  drop_if_memory_moved();
  Entry* entry = find();
  if (!entry) return issue_first(step, cache, adapters, issue);
  if (entry->is_refused) return issue_eagerly(issue);
  entry->last_used = ++clock_;
  if (!entry->graph) capture(*entry, issue);
  if (entry->graph) {
    replay(*entry);
  } else {
    issue_eagerly(issue);
  }
  forget_oldest(true, kMaxGraphs);
}

// The form is known once it is known which tiles the layers need.
void StepGraphs::issue_first(const StepBatch& step, std::span<const KvLayer> cache,
                             const AdaptersOnRows& adapters, const std::function<void()>& issue) {
  const size_t n_kinds = kinds_.size();
  reserve_inputs();
  issue_eagerly(issue);
  if (kinds_.size() > n_kinds && !lay_out(step, cache, adapters)) return;
  forget_oldest(false, kMaxSeen - 1);
  entries_.push_back({.form = form_, .table_form = table_form_, .last_used = ++clock_});
}

void StepGraphs::issue_eagerly(const std::function<void()>& issue) {
  ++backend_.step_counts_.eager;
  const Issuing issuing(backend_.graphs_, this);
  issue();
}

void StepGraphs::replay(Entry& entry) {
  backend_.check_cancelled();
  upload_inputs();
  backend_.on_device([&] { launch_graph(entry.graph, backend_.stream_); });
  ++backend_.step_counts_.replayed;
}

// Leaves the entry with a graph, or refused.
void StepGraphs::capture(Entry& entry, const std::function<void()>& issue) {
  reserve_inputs();
  next_table_ = 0;
  entry.is_refused = true;
  try {
    entry.graph = captured(issue);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) {
      entry.is_refused = false;
      throw;
    }
    ++backend_.step_counts_.not_captured;
    return;
  }
  entry.is_refused = false;
  ++backend_.step_counts_.captured;
}

Graph StepGraphs::captured(const std::function<void()>& issue) {
  const Issuing issuing(backend_.graphs_, this);
  const Raised capturing(is_capturing_), frozen(backend_.scratch_.is_frozen);
  try {
    begin_capture(backend_.stream_);
    issue();
    backend_.check_cancelled();  // ops may have been left out
    return end_capture(backend_.stream_);
  } catch (...) {
    abandon_capture(backend_.stream_);
    throw;
  }
}

// ---- the form of a step, and what its kernels read of it

bool StepGraphs::in_window(const StepBatch& step) const {
  return !step_->window_spans.empty() && step.spans.data() == step_->window_spans.data();
}

// False for a step that no graph is kept of.
bool StepGraphs::lay_out(const StepBatch& step, std::span<const KvLayer> cache,
                         const AdaptersOnRows& adapters) {
  if (step.n_rows() > kMaxRows || arrays_overlap(step)) return false;
  words_.clear();
  form_ = {step.n_rows(), static_cast<int64_t>(step.rows_wanted.size()),
           static_cast<int64_t>(step.window_spans.size() > 0)};
  for (const KvLayer& layer : cache) {
    form_.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(layer.data)));
    form_.push_back(static_cast<int64_t>(layer.type));
  }
  form_.push_back(std::ssize(adapters.replacing));
  form_.insert(form_.end(), adapters.replacing.begin(), adapters.replacing.end());
  tokens_ = append(step.tokens, std::ssize(step.tokens));
  positions_ = append(step.positions, std::ssize(step.positions));
  wanted_ = append(step.rows_wanted, std::ssize(step.rows_wanted));
  rows_[0] = append_rows(step);
  if (!step.window_spans.empty()) rows_[1] = append_rows(step.in_window());
  tiles_.clear();
  return std::ranges::all_of(kinds_,
                             [&](const TileKind& kind) { return append_tiles(step, kind); });
}

// Where in words_ they stand, with `room` for so many; what is not used would be a page or a token
// that there is not.
size_t StepGraphs::append(std::span<const int32_t> words, int64_t room) {
  const size_t at = words_.size();
  words_.resize(at + static_cast<size_t>(room), -1);
  std::ranges::copy(words, words_.begin() + static_cast<ptrdiff_t>(at));
  return at;
}

// A decoder whose layers all have a window has no pages for others: no op asks for such rows.
size_t StepGraphs::append_rows(const StepBatch& step) {
  if (std::ranges::all_of(step.spans, [](const SequenceSpan& one) { return one.pages.empty(); })) {
    form_.push_back(0);
    return words_.size();
  }
  const std::vector<int32_t> words = gpu::plan_rows(step);
  const int64_t of_rows = 3 * step.n_rows();
  const int64_t n_pages = rounded(std::ssize(words) - of_rows);
  form_.push_back(n_pages);
  return append(words, of_rows + n_pages);
}

bool StepGraphs::append_tiles(const StepBatch& step, const TileKind& kind) {
  const gpu::AttendPlan plan =
      gpu::plan_tiles(kind.in_window ? step.in_window() : step, kind.options);
  if (!plan.flash.empty()) return false;
  form_.push_back(std::ssize(plan.splits));
  std::vector<SplitPlace>& places = tiles_.emplace_back();
  for (const gpu::SplitBatch& batch : plan.splits) {
    const int64_t n_tiles = rounded(std::ssize(batch.tiles)),
                  n_merges = rounded(std::ssize(batch.merges));
    std::vector<AttendTile> tiles = batch.tiles;
    std::vector<MergeRow> merges = batch.merges;
    tiles.resize(static_cast<size_t>(n_tiles));  // the rest has no queries
    merges.resize(static_cast<size_t>(n_merges));
    const std::span<const int32_t> tile_words = as_words(tiles), merge_words = as_words(merges);
    const size_t tiles_at = append(tile_words, std::ssize(tile_words));
    const size_t merges_at = append(merge_words, std::ssize(merge_words));
    places.push_back({tiles_at, merges_at, n_tiles, n_merges});
    form_.insert(form_.end(), {n_tiles, n_merges});
  }
  return true;
}

// False if they are too many to be kept.
bool StepGraphs::plan_tables(const AdaptersOnRows& adapters, const std::function<void()>& issue) {
  planning_ = {static_cast<uint64_t>(step_->n_rows()), step_->rows_wanted.size()};
  planning_.insert(planning_.end(), adapters.all.begin(), adapters.all.end());
  if (planning_ != planned_) {
    planned_.clear();
    tables_.clear();
    table_form_.clear();
    tables_are_uploaded_ = false;
    n_ops_ = 0;
    if (!adapters.all.empty()) {
      const Issuing issuing(backend_.graphs_, this);
      const Raised planning(is_planning_);
      issue();
      backend_.check_cancelled();  // ops may have been left out
    }
    std::swap(planned_, planning_);
  }
  return tables_.size() <= kMaxTableBytes;
}

// Graphs know its address.
void StepGraphs::reserve(std::unique_ptr<DeviceBuffer>& memory, uint64_t bytes) {
  if (memory && memory->bytes() >= bytes) return;
  drop_graphs();
  memory.reset();
  memory = backend_.on_device([&] {
    return std::make_unique<DeviceBuffer>(backend_.device_,
                                          std::max(kLeastBytes, 2 * std::bit_ceil(bytes)));
  });
}

void StepGraphs::reserve_inputs() {
  reserve(memory_, words_.size() * sizeof(int32_t));
  if (table_memory_ ? table_memory_->bytes() >= tables_.size() : tables_.empty()) return;
  tables_are_uploaded_ = false;
  reserve(table_memory_, tables_.size());
}

void StepGraphs::upload_inputs() {
  reserve_inputs();
  backend_.upload(words_.data(), memory_->data(), words_.size() * sizeof(int32_t));
  if (tables_are_uploaded_ || tables_.empty()) return;
  backend_.upload(tables_.data(), table_memory_->data(), tables_.size());
  tables_are_uploaded_ = true;
}

// ---- what ops ask

void StepGraphs::note_tiles(const StepBatch& step, const gpu::TileOptions& options) {
  const TileKind kind{in_window(step), options};
  if (std::ranges::find(kinds_, kind) == kinds_.end()) kinds_.push_back(kind);
}

const int32_t* StepGraphs::words_of(std::span<const int32_t> words) const {
  const auto* device = reinterpret_cast<const int32_t*>(memory_->data());
  const auto find = [&](std::span<const int32_t> all, size_t at) -> const int32_t* {
    const std::less_equal<const int32_t*> up_to;
    const bool inside = up_to(all.data(), words.data()) &&
                        up_to(words.data() + words.size(), all.data() + all.size());
    return inside ? device + at + (words.data() - all.data()) : nullptr;
  };
  const int32_t* place = find(step_->tokens, tokens_);
  if (!place) place = find(step_->positions, positions_);
  if (!place) place = find(step_->rows_wanted, wanted_);
  if (!place) fail(ErrorCode::kInternal, "an op reads words that are not of the captured step");
  return place;
}

StepRows StepGraphs::rows_of(const StepBatch& step) const {
  const auto* words =
      reinterpret_cast<const int32_t*>(memory_->data()) + rows_[in_window(step) ? 1 : 0];
  return rows_at(words, step.n_rows());
}

CudaBackend::Tiles StepGraphs::tiles_of(const StepBatch& step,
                                        const gpu::TileOptions& options) const {
  const auto kind = std::ranges::find(kinds_, TileKind{in_window(step), options});
  if (kind == kinds_.end())
    fail(ErrorCode::kInternal, "a layer's tiles are not those that it had in earlier steps");
  const auto* words = reinterpret_cast<const int32_t*>(memory_->data());
  CudaBackend::Tiles tiles;
  for (const SplitPlace& place : tiles_[static_cast<size_t>(kind - kinds_.begin())]) {
    tiles.splits.push_back({reinterpret_cast<const AttendTile*>(words + place.tiles), place.n_tiles,
                            reinterpret_cast<const MergeRow*>(words + place.merges), place.n_merges,
                            place.n_tiles});
  }
  return tiles;
}

const std::byte* StepGraphs::table(std::span<const std::byte> bytes,
                                   std::initializer_list<int64_t> form) {
  if (is_planning_) {
    table_form_.insert(table_form_.end(), {static_cast<int64_t>(n_ops_), std::ssize(bytes)});
    table_form_.insert(table_form_.end(), form);
    if (tables_.size() <= kMaxTableBytes) {
      tables_.insert(tables_.end(), bytes.begin(), bytes.end());
      tables_.resize(table_room(tables_.size()));
    }
    return nullptr;
  }
  const size_t at = next_table_;
  if (bytes.size() > tables_.size() - at ||
      !std::ranges::equal(bytes, std::span(tables_).subspan(at, bytes.size())))
    fail(ErrorCode::kInternal, "a step's tables are not those that were planned");
  next_table_ += table_room(bytes.size());
  return table_memory_->data() + at;
}

// ---- which graphs there are

StepGraphs::Entry* StepGraphs::find() {
  const auto at = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return entry.form == form_ && entry.table_form == table_form_;
  });
  return at == entries_.end() ? nullptr : &*at;
}

// Until at most so many are left of those with a graph, or of those without.
void StepGraphs::forget_oldest(bool with_graph, size_t most) {
  const auto is_one = [&](const Entry& entry) { return (entry.graph != nullptr) == with_graph; };
  while (static_cast<size_t>(std::ranges::count_if(entries_, is_one)) > most) {
    auto oldest = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (is_one(*entry) && (oldest == entries_.end() || entry->last_used < oldest->last_used))
        oldest = entry;
    }
    if (oldest->graph) {
      free_graph(oldest->graph);
      ++backend_.step_counts_.dropped;
    }
    entries_.erase(oldest);
  }
}

void StepGraphs::drop_if_memory_moved() {
  if (n_moves_ == backend_.scratch_.n_moves) return;
  drop_graphs();
  n_moves_ = backend_.scratch_.n_moves;
}

// Their forms stay known: the next step of each is captured.
void StepGraphs::drop_graphs() {
  for (Entry& entry : entries_) {
    if (!entry.graph) continue;
    free_graph(entry.graph);
    entry.graph = nullptr;
    ++backend_.step_counts_.dropped;
  }
}

}  // namespace realm::cuda
