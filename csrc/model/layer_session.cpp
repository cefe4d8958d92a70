#include "model/layer_session.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "backend/watch.h"
#include "base/error.h"
#include "model/logits.h"

namespace realm {

namespace {

constexpr int64_t kMaxWanted = 64;  // rows whose logits are computed together

int64_t tokens_for(const Model& model, const LayerOptions& options) {
  validate(options, model.config());
  return options.max_tokens > 0 ? options.max_tokens : model.config().n_ctx;
}

std::vector<int32_t> count_to(int64_t n) {
  std::vector<int32_t> numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Of the first value that is NaN or infinite; the number of values if there is none.
size_t index_not_finite(std::span<const float> values) {
  size_t i = 0;
  while (i < values.size() && std::isfinite(values[i])) ++i;
  return i;
}

}  // namespace

void validate(const LayerOptions& options, const ModelConfig& config) {
  REALM_CHECK(options.max_tokens >= 0 && options.max_tokens <= config.n_ctx, "max_tokens is ",
              options.max_tokens, "; this model's context is ", config.n_ctx);
  REALM_CHECK(options.max_rows >= 1, "max_rows is ", options.max_rows, "; must be at least 1");
}

int64_t blocks_of(const LayerOptions& options, Model& model) {
  const int64_t page = model.backend().kv_page_tokens();
  return (tokens_for(model, options) + page - 1) / page;
}

LayerSession::LayerSession(std::shared_ptr<Model> model, const LayerOptions& options)
    : model_(std::move(model)),
      max_tokens_(tokens_for(*model_, options)),
      max_rows_(std::min(options.max_rows, max_tokens_)),
      max_wanted_(std::min(kMaxWanted, max_rows_)),
      adapters_(options.adapters),
      charge_(options.charge),
      pages_(count_to(blocks_of(options, *model_))),
      cache_(model_->backend(), model_->config(), options.kv_type, std::ssize(pages_)),
      decoder_(model_->backend(), model_->config(), model_->weights(), max_rows_, max_wanted_),
      positions_(static_cast<size_t>(max_rows_)),
      row_indexes_(count_to(max_rows_)),
      no_tokens_(static_cast<size_t>(max_rows_)) {}

uint64_t LayerSession::bytes() const {
  return cache_.bytes() + decoder_.bytes();
}

void LayerSession::embed_tokens(std::span<const int32_t> tokens, std::span<float> rows,
                                const std::atomic<bool>* cancel) {
  REALM_CHECK(next_layer_ == 0, "the next tokens' positions are not free: layer ", next_layer_,
              " of the step under way comes next");
  const int64_t n = rows_in(rows.size());
  REALM_CHECK(n == std::ssize(tokens), "rows for ", n, " tokens, and there are ", tokens.size());
  check_room(n);
  for (const int32_t token : tokens) {
    REALM_CHECK(token >= 0 && token < model_->config().n_vocab, "token id ", token,
                " is not in the vocabulary of ", model_->config().n_vocab);
  }
  charge(n);
  on_backend(cancel, [&](Backend& backend) {
    const StepBatch step = step_at(length_, tokens);
    decoder_.begin(step);
    decoder_.embed(step);
    backend.download(decoder_.residual().data, rows.data(), rows.size_bytes());
  });
}

void LayerSession::forward_layer(int64_t layer, std::span<const float> in, std::span<float> out,
                                 const std::atomic<bool>* cancel) {
  REALM_CHECK(layer == next_layer_, "layer ", layer, " is out of order: layer ", next_layer_,
              next_layer_ == 0 ? " begins a step" : " of the step under way comes next");
  const int64_t n = rows_in(in.size());
  REALM_CHECK(out.size() == in.size(), "rows of ", in.size(), " values go into ", out.size());
  if (next_layer_ > 0) {
    REALM_CHECK(n == n_step_rows_, "a step of ", n_step_rows_, " rows has ", n, " at layer ",
                layer);
  } else {
    check_room(n);
  }
  check_finite(in);
  charge(n);
  on_backend(cancel, [&](Backend& backend) {
    const StepBatch step = step_at(length_, std::span(no_tokens_).first(static_cast<size_t>(n)));
    decoder_.begin(step);
    const Matrix rows = decoder_.residual();
    backend.upload(in.data(), rows.data, in.size_bytes());
    decoder_.layer(step, cache_, layer);
    backend.download(rows.data, out.data(), out.size_bytes());
  });
  if (const size_t at = index_not_finite(out); at < out.size()) {
    fail(ErrorCode::kFormat, "layer ", layer, " computes ", out[at],
         ": its weights or its input hold NaN, infinite or huge values");
  }
  n_step_rows_ = n;
  if (++next_layer_ < model_->config().n_layers) return;
  length_ += n;
  next_layer_ = n_step_rows_ = 0;
}

void LayerSession::compute_logits(std::span<const float> rows, std::span<float> logits,
                                  const std::atomic<bool>* cancel) {
  const int64_t n = rows_in(rows.size());
  const auto width = static_cast<size_t>(model_->config().n_embd);
  const auto n_vocab = static_cast<size_t>(model_->config().n_vocab);
  REALM_CHECK(logits.size() % n_vocab == 0 && logits.size() / n_vocab == rows.size() / width,
              "logits of ", n, " rows are ", n, " x ", n_vocab, " values, and there is room for ",
              logits.size());
  check_finite(rows);
  charge(n);
  on_backend(cancel, [&](Backend& backend) {
    for (int64_t done = 0; done < n; done += max_wanted_) {
      backend.check_cancelled();
      const auto some = static_cast<size_t>(std::min(max_wanted_, n - done));
      const auto first = static_cast<size_t>(done);
      StepBatch step = step_at(0, std::span(no_tokens_).first(some));
      step.rows_wanted = std::span(row_indexes_).first(some);
      decoder_.begin(step);
      backend.upload(rows.data() + first * width, decoder_.residual().data,
                     some * width * sizeof(float));
      decoder_.head(step);
      backend.download(decoder_.logits().data, logits.data() + first * n_vocab,
                       some * n_vocab * sizeof(float));
    }
  });
  require_finite(logits);
}

void LayerSession::truncate(int64_t n) {
  REALM_CHECK(n >= 0 && n <= length_, "cannot truncate a sequence of ", length_, " tokens to ", n);
  length_ = n;
  next_layer_ = n_step_rows_ = 0;
}

// How many rows so many values are.
int64_t LayerSession::rows_in(size_t n_values) const {
  const auto width = static_cast<size_t>(model_->config().n_embd);
  REALM_CHECK(n_values > 0 && n_values % width == 0, "rows have ", width,
              " values each, and there are ", n_values);
  const size_t n = n_values / width;
  REALM_CHECK(n <= static_cast<size_t>(max_rows_), "a step of ", n,
              " rows; this session takes at most ", max_rows_);
  return static_cast<int64_t>(n);
}

void LayerSession::check_room(int64_t n_rows) const {
  REALM_CHECK(n_rows <= max_tokens_ - length_, "a sequence of ", length_, " tokens cannot take ",
              n_rows, " more: it was made for ", max_tokens_);
}

void LayerSession::check_finite(std::span<const float> rows) const {
  const size_t at = index_not_finite(rows);
  const auto width = static_cast<size_t>(model_->config().n_embd);
  REALM_CHECK(at == rows.size(), "there is ", rows[at], " in row ", at / width, ", column ",
              at % width);
}

// Refers to `tokens` and to members.
StepBatch LayerSession::step_at(int64_t first_pos, std::span<const int32_t> tokens) {
  const auto n = static_cast<int32_t>(tokens.size()), pos = static_cast<int32_t>(first_pos);
  std::iota(positions_.begin(), positions_.begin() + n, pos);
  span_ = {0, n, pos, static_cast<int32_t>(max_tokens_), pages_, adapters_.get()};
  return {tokens, std::span(positions_).first(tokens.size()), {&span_, 1}, {}};
}

void LayerSession::charge(int64_t n_rows) {
  const int64_t parts = uncharged_parts_ + n_rows, per_token = model_->config().n_layers + 2;
  if (charge_ && parts >= per_token) charge_(parts / per_token);
  uncharged_parts_ = parts % per_token;
}

// Calls compute(backend) in a turn of its own. What a flag cut short is an error.
template <class Compute>
void LayerSession::on_backend(const std::atomic<bool>* cancel, Compute compute) {
  const ModestTurn turn = model_->take_modest_turn(cancel);
  Backend& backend = model_->backend();
  const CancelWatch watch(backend, cancel);
  compute(backend);
  backend.check_cancelled();
}

}  // namespace realm
