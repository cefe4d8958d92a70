// The encoder of each weight format that we write, one function per format; the table in
// quant/formats.h is how others reach them. All have the type EncodeBlocks: `n_blocks` consecutive
// blocks from finite floats into memory that needs no alignment. Pure and allocation-free, so any
// thread may call them, and the same floats give the same bytes on every machine.
//
// F16, BF16, Q4_0 .. Q8_0 give the bytes of the `gguf` package's `quantize`, infinite scales of
// huge blocks (beyond 65504) included.
//
// The others search for the scales with the least squared error (quant/encode_search.h). They keep
// every scale a finite half: blocks too large for one saturate, blocks too small for one are 0.
// Superblocks of one sign may get a negative d and dmin in Q2_K, Q4_K and Q5_K.
#pragma once

#include <cstddef>
#include <cstdint>

namespace realm {

void encode_f32(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_f64(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_f16(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_bf16(const float* in, std::byte* blocks, uint64_t n_blocks);

void encode_q4_0(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q4_1(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q5_0(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q5_1(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q8_0(const float* in, std::byte* blocks, uint64_t n_blocks);

void encode_q2_k(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q3_k(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q4_k(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q5_k(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_q6_k(const float* in, std::byte* blocks, uint64_t n_blocks);

void encode_iq4_nl(const float* in, std::byte* blocks, uint64_t n_blocks);
void encode_iq4_xs(const float* in, std::byte* blocks, uint64_t n_blocks);

}  // namespace realm
