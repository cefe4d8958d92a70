// Paged attention: the queries of one sequence and KV head go to the kernel in groups that share
// the pages they read.
#include <algorithm>

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "cpu/kv_layout.h"

namespace realm::cpu {

namespace {

// Everything that the groups of one call have in common.
struct Call {
  const StepBatch& step;
  const KvLayer& cache;
  const AttentionShape& shape;
  Matrix q, out;
  int64_t heads_per_kv = shape.n_heads / shape.n_kv_heads;
  int64_t head_page_bytes = kv_layout(cache.type, static_cast<int>(cache.head_width)).bytes;

  int64_t groups_of(const SequenceSpan& span) const {
    return (span.n_rows * heads_per_kv + kMaxQueries - 1) / kMaxQueries;
  }
};

void attend_group(const Kernels& kernels, const Call& call, const SequenceSpan& span,
                  int64_t kv_head, int64_t group) {
  AttendArgs args{};
  args.type = call.cache.type;
  args.head_width = static_cast<int>(call.shape.head_width);
  args.scale = call.shape.scale;
  args.softcap = call.shape.softcap;
  args.pool = reinterpret_cast<const uint8_t*>(call.cache.data) + kv_head * call.head_page_bytes;
  args.page_bytes = call.cache.n_kv_heads * call.head_page_bytes;
  args.pages = span.pages.data();
  const int64_t begin = group * kMaxQueries;
  const int64_t end = std::min(begin + kMaxQueries, span.n_rows * call.heads_per_kv);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i / call.heads_per_kv,
                  head = kv_head * call.heads_per_kv + i % call.heads_per_kv;
    const int64_t at = (span.first_row + row) * call.q.cols + head * call.shape.head_width;
    const int64_t pos = span.first_pos + row;
    args.q[args.n_queries] = call.q.data + at;
    args.out[args.n_queries] = call.out.data + at;
    args.first_key[args.n_queries] =
        call.shape.window > 0 ? std::max<int64_t>(0, pos - call.shape.window + 1) : 0;
    args.last_key[args.n_queries++] = pos;
  }
  kernels.attend(args);
}

}  // namespace

void CpuBackend::run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  const int width = static_cast<int>(cache.head_width);
  const int64_t head_bytes = kv_layout(cache.type, width).bytes;
  for (const SequenceSpan& span : step.spans) {
    pool_->run(span.n_rows, [&](int64_t row) {
      const int64_t pos = span.first_pos + row;
      auto* page = reinterpret_cast<uint8_t*>(cache.data) +
                   span.pages[static_cast<size_t>(pos / kLanes)] * cache.n_kv_heads * head_bytes;
      for (int64_t head = 0; head < cache.n_kv_heads; ++head) {
        const int64_t at = (span.first_row + row) * k.cols + head * width;
        kernels_.store_kv(cache.type, width, k.data + at, v.data + at, page + head * head_bytes,
                          static_cast<int>(pos % kLanes));
      }
    });
  }
}

void CpuBackend::run_attend(const StepBatch& step, const KvLayer& cache,
                            const AttentionShape& shape, Matrix q, Matrix out) {
  if (shape.head_width > kMaxHeadWidth) fail(ErrorCode::kInternal, "head width ", shape.head_width);
  const Call call{step, cache, shape, q, out};
  int64_t n_groups = 0;
  for (const SequenceSpan& span : step.spans) n_groups += call.groups_of(span) * shape.n_kv_heads;
  pool_->run(n_groups, [&](int64_t index) {
    if (cancelled()) return;
    for (const SequenceSpan& span : step.spans) {
      const int64_t here = call.groups_of(span) * shape.n_kv_heads;
      if (index < here)
        return attend_group(kernels_, call, span, index % shape.n_kv_heads,
                            index / shape.n_kv_heads);
      index -= here;
    }
  });
}

}  // namespace realm::cpu
