// Paged attention: the queries of one sequence and KV head go to the kernel in groups that share
// the pages they read. Groups are shared out to the threads; where a step has fewer of them than
// would keep the threads busy, the stretches of their keys are.
#include <algorithm>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "cpu/kv_layout.h"

namespace realm::cpu {

namespace {

// At least `floats`, of the calling thread's own and kept for its next call.
float* thread_memory(int64_t floats) {
  thread_local std::vector<CacheLine> lines;
  const auto needed = static_cast<size_t>((floats + kLanes - 1) / kLanes);
  if (lines.size() < needed) lines.resize(needed);
  return lines.data()->floats;
}

// Queries of one sequence and KV head: the head's queries of the first row, of the second, ...
struct Group {
  const SequenceSpan* span;
  int64_t kv_head, first, end;
};

// Everything that the groups of one call have in common.
struct Call {
  const StepBatch& step;
  const KvLayer& cache;
  const AttentionShape& shape;
  Matrix q, out;
  KvLayout layout = kv_layout(cache.type, static_cast<int>(cache.head_width));
  int64_t heads_per_kv = shape.n_heads / shape.n_kv_heads;
  int64_t scratch_floats = attend_scratch_floats(layout.padded_width);

  int64_t groups_of(const SequenceSpan& span) const {
    return (span.n_rows * heads_per_kv + kMaxQueries - 1) / kMaxQueries * shape.n_kv_heads;
  }

  int64_t n_groups() const {
    int64_t n = 0;
    for (const SequenceSpan& span : step.spans) n += groups_of(span);
    return n;
  }

  // Of a sequence the last rows come first: they see most keys.
  Group group(int64_t index) const {
    const SequenceSpan* span = step.spans.data();
    while (index >= groups_of(*span)) index -= groups_of(*span++);
    const int64_t from_last = groups_of(*span) / shape.n_kv_heads - 1 - index / shape.n_kv_heads;
    const int64_t first = from_last * kMaxQueries;
    return {span, index % shape.n_kv_heads, first,
            std::min(first + kMaxQueries, span->n_rows * heads_per_kv)};
  }

  int64_t last_pos(const Group& group) const {
    return group.span->first_pos + (group.end - 1) / heads_per_kv;
  }
  int64_t first_key(int64_t pos) const {
    return shape.window > 0 ? std::max<int64_t>(0, pos - shape.window + 1) : 0;
  }
  int64_t first_stretch(const Group& group) const {
    return first_key(group.span->first_pos + group.first / heads_per_kv) / kStretchKeys;
  }
  int64_t end_stretch(const Group& group) const { return last_pos(group) / kStretchKeys + 1; }

  AttendArgs args(const Group& group, float* scratch) const;
  // The pages of the first block that a group sees.
  void fetch_after(AttendArgs& args, const Group& next) const;
};

AttendArgs Call::args(const Group& group, float* scratch) const {
  AttendArgs args;
  args.type = cache.type;
  args.head_width = static_cast<int>(shape.head_width);
  args.n_queries = static_cast<int>(group.end - group.first);
  for (int i = 0; i < args.n_queries; ++i) {
    const int64_t row = (group.first + i) / heads_per_kv,
                  head = group.kv_head * heads_per_kv + (group.first + i) % heads_per_kv;
    const int64_t at = (group.span->first_row + row) * q.cols + head * shape.head_width;
    args.q[i] = q.data + at;
    args.out[i] = out.data + at;
    args.last_key[i] = group.span->first_pos + row;
    args.first_key[i] = first_key(args.last_key[i]);
  }
  args.scale = shape.scale;
  args.softcap = shape.softcap;
  args.pool = reinterpret_cast<const uint8_t*>(cache.data) + group.kv_head * layout.bytes;
  args.page_bytes = cache.n_kv_heads * layout.bytes;
  args.pages = group.span->pages.data();
  args.scratch = scratch;
  return args;
}

void Call::fetch_after(AttendArgs& args, const Group& next) const {
  const auto* pool = reinterpret_cast<const uint8_t*>(cache.data) + next.kv_head * layout.bytes;
  const int64_t first = first_key(next.span->first_pos + next.first / heads_per_kv);
  int64_t tile = first / kBlockKeys * (kBlockKeys / kLanes);
  for (const uint8_t*& after : args.after) {
    const int64_t seen = std::clamp(tile++, first / kLanes, last_pos(next) / kLanes);
    after = pool + next.span->pages[static_cast<size_t>(seen)] * args.page_bytes;
  }
}

int64_t states_floats(const Call& call, const Group& group) {
  return (group.end - group.first) * attend_state_floats(call.layout.padded_width);
}

// All stretches of a group, one after another; stops early when cancelled. The thread that does
// this takes the next group as a rule.
template <class Cancelled>
void attend_group(const Kernels& kernels, const Call& call, int64_t index, Cancelled cancelled) {
  const Group group = call.group(index);
  const int64_t n = states_floats(call, group);
  float* total = thread_memory(call.scratch_floats + 2 * n);
  float* part = total + n;
  AttendArgs args = call.args(group, part + n);
  if (index + 1 < call.n_groups()) call.fetch_after(args, call.group(index + 1));
  const int64_t first = call.first_stretch(group), end = call.end_stretch(group);
  for (int64_t stretch = first; stretch < end; ++stretch) {
    if (cancelled()) return;
    kernels.attend(args, stretch, stretch == first ? total : part);
    if (stretch > first) kernels.merge_attention(args, stretch, part, total);
  }
  kernels.finish_attention(args, total);
}

// One stretch of a group's keys.
struct Piece {
  Group group;
  int64_t stretch;
  int64_t states_at;  // floats before its states, when all pieces lie one after another
};

// Piece `index` of all groups' pieces; past the last, only states_at is set: their whole size.
Piece piece_at(const Call& call, int64_t index) {
  int64_t states_at = 0;
  for (int64_t i = 0; i < call.n_groups(); ++i) {
    const Group group = call.group(i);
    const int64_t n = call.end_stretch(group) - call.first_stretch(group);
    const int64_t floats = states_floats(call, group);
    if (index < n) return {group, call.first_stretch(group) + index, states_at + index * floats};
    index -= n;
    states_at += n * floats;
  }
  return {{}, 0, states_at};
}

int64_t n_pieces(const Call& call) {
  int64_t n = 0;
  for (int64_t i = 0; i < call.n_groups(); ++i) {
    n += call.end_stretch(call.group(i)) - call.first_stretch(call.group(i));
  }
  return n;
}

// Pages that the new rows of a sequence lie in.
int64_t pages_of(const SequenceSpan& span) {
  const int64_t first_pos = span.first_pos, end_pos = first_pos + span.n_rows;
  return (end_pos + kLanes - 1) / kLanes - first_pos / kLanes;
}

}  // namespace

void CpuBackend::run_attend(const StepBatch& step, const KvLayer& cache,
                            const AttentionShape& shape, Matrix q, Matrix out) {
  if (shape.head_width > kMaxHeadWidth) fail(ErrorCode::kInternal, "head width ", shape.head_width);
  const Call call{step, cache, shape, q, out};
  const int64_t n_groups = call.n_groups();
  const bool few = pool_->n_threads() > 1 && n_groups < 2 * pool_->n_threads();
  if (!few || n_pieces(call) == n_groups) {
    pool_->run(n_groups,
               [&](int64_t i) { attend_group(kernels_, call, i, [this] { return cancelled(); }); });
    return;
  }
  const int64_t n = n_pieces(call);
  states_.resize(static_cast<size_t>(piece_at(call, n).states_at / kLanes));
  float* states = states_.data()->floats;
  pool_->run(n, [&](int64_t i) {
    if (cancelled()) return;
    const Piece piece = piece_at(call, i);
    const AttendArgs args = call.args(piece.group, thread_memory(call.scratch_floats));
    kernels_.attend(args, piece.stretch, states + piece.states_at);
  });
  if (cancelled()) return;
  for (int64_t i = 0, first = 0; i < n_groups; ++i) {
    const Group group = call.group(i);
    const AttendArgs args = call.args(group, nullptr);
    float* total = states + piece_at(call, first).states_at;
    const int64_t n_here = call.end_stretch(group) - call.first_stretch(group);
    for (int64_t j = 1; j < n_here; ++j) {
      const Piece piece = piece_at(call, first + j);
      kernels_.merge_attention(args, piece.stretch, states + piece.states_at, total);
    }
    kernels_.finish_attention(args, total);
    first += n_here;
  }
}

// By pages, so that threads share no cache line.
void CpuBackend::run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  constexpr int64_t kPagesPerTask = 4;
  const int width = static_cast<int>(cache.head_width);
  const int64_t head_bytes = kv_layout(cache.type, width).bytes;
  const auto store_row = [&](const SequenceSpan& span, int64_t row) {
    const int64_t pos = span.first_pos + row;
    auto* page = reinterpret_cast<uint8_t*>(cache.data) +
                 span.pages[static_cast<size_t>(pos / kLanes)] * cache.n_kv_heads * head_bytes;
    for (int64_t head = 0; head < cache.n_kv_heads; ++head) {
      const int64_t at = (span.first_row + row) * k.cols + head * width;
      kernels_.store_kv(cache.type, width, k.data + at, v.data + at, page + head * head_bytes,
                        static_cast<int>(pos % kLanes));
    }
  };
  int64_t n_pages = 0;
  for (const SequenceSpan& span : step.spans) n_pages += pages_of(span);
  pool_->run_ranges(n_pages, kPagesPerTask, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // pages of the sequences passed
    for (const SequenceSpan& span : step.spans) {
      const int64_t first_pos = span.first_pos, end_pos = first_pos + span.n_rows;
      const int64_t first_page = first_pos / kLanes - before;
      const int64_t from = std::max((first_page + begin) * kLanes, first_pos);
      const int64_t to = std::min((first_page + end) * kLanes, end_pos);
      for (int64_t pos = from; pos < to; ++pos) store_row(span, pos - first_pos);
      before += pages_of(span);
    }
  });
}

}  // namespace realm::cpu
