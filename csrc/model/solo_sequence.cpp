#include "model/solo_sequence.h"

#include <algorithm>
#include <numeric>

#include "backend/watch.h"
#include "base/error.h"
#include "model/logits.h"

namespace realm {

namespace {

int64_t pages_for(Model& model, const SoloOptions& options) {
  const int64_t n_ctx = model.config().n_ctx;
  REALM_CHECK(options.max_tokens >= 1 && options.max_tokens <= n_ctx, "a sequence of up to ",
              options.max_tokens, " tokens; this model's context is ", n_ctx);
  REALM_CHECK(options.chunk_rows >= 1, "chunks of ", options.chunk_rows, " rows");
  const int64_t page = model.backend().kv_page_tokens();
  return (options.max_tokens + page - 1) / page;
}

}  // namespace

SoloSequence::SoloSequence(std::shared_ptr<Model> model, const SoloOptions& options)
    : model_(std::move(model)),
      options_(options),
      pages_(static_cast<size_t>(pages_for(*model_, options))),
      cache_(model_->backend(), model_->config(), options.kv_type,
             static_cast<int64_t>(pages_.size())),
      decoder_(model_->backend(), model_->config(), model_->weights(),
               std::min(options.chunk_rows, options.max_tokens),
               std::min(options.max_wanted, options.max_tokens)) {
  std::iota(pages_.begin(), pages_.end(), 0);
}

void SoloSequence::append(std::span<const int32_t> tokens, int64_t n_wanted, float* logits,
                          const std::atomic<bool>* cancel) {
  check(tokens, n_wanted);
  const auto n = static_cast<int64_t>(tokens.size());
  const auto lock = model_->lock_backend();
  const CancelWatch watch(model_->backend(), cancel);
  for (int64_t done = 0; done < n;) {
    int64_t rows = std::min(options_.chunk_rows, n - done);
    const int64_t first_wanted = std::max<int64_t>(0, n - n_wanted - done);
    if (first_wanted < rows) rows = std::min(rows, first_wanted + options_.max_wanted);
    const int64_t wanted = std::max<int64_t>(0, rows - first_wanted);
    run_chunk(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)), length_ + done,
              wanted, logits);
    logits += wanted * model_->config().n_vocab;
    done += rows;
  }
  length_ += n;
}

void SoloSequence::truncate(int64_t n) {
  REALM_CHECK(n >= 0 && n <= length_, "cannot truncate a sequence of ", length_, " tokens to ", n);
  length_ = n;
}

void SoloSequence::check(std::span<const int32_t> tokens, int64_t n_wanted) const {
  const auto n = static_cast<int64_t>(tokens.size());
  REALM_CHECK(n >= 1, "there are no tokens");
  REALM_CHECK(n_wanted >= 0 && n_wanted <= n, "logits of ", n_wanted, " rows of ", n);
  REALM_CHECK(n <= capacity() - length_, "a sequence of ", length_, " tokens cannot take ", n,
              " more: it was made for ", capacity());
  for (const int32_t token : tokens) {
    REALM_CHECK(token >= 0 && token < model_->config().n_vocab, "token id ", token,
                " is not in the vocabulary of ", model_->config().n_vocab);
  }
}

void SoloSequence::run_chunk(std::span<const int32_t> tokens, int64_t first_pos, int64_t n_wanted,
                             float* logits) {
  const auto n = static_cast<int32_t>(tokens.size());
  std::vector<int32_t> positions(tokens.size()), wanted(static_cast<size_t>(n_wanted));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first_pos));
  std::iota(wanted.begin(), wanted.end(), n - static_cast<int32_t>(n_wanted));
  const SequenceSpan span{0,
                          n,
                          static_cast<int32_t>(first_pos),
                          static_cast<int32_t>(capacity()),
                          pages_,
                          options_.adapters.get()};
  decoder_.run({tokens, positions, {&span, 1}, wanted}, cache_);
  if (n_wanted == 0) return;
  const auto n_logits = static_cast<size_t>(n_wanted * model_->config().n_vocab);
  model_->backend().download(decoder_.logits().data, logits, n_logits * sizeof(float));
  require_finite({logits, n_logits});
}

}  // namespace realm
