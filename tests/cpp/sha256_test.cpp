// The published vectors of FIPS 180-4, and the instructions against the portable code.
#include "base/sha256.h"

#include <string>
#include <vector>

#include "base/counter_rng.h"
#include "cpp/harness.h"

using namespace realm;

namespace {

std::string hash_of(std::string_view text, Sha256 hash = {}) {
  hash.update(text);
  return to_hex(hash.finish());
}

std::string random_bytes(size_t n) {
  std::string bytes;
  for (uint32_t i = 0; bytes.size() < n; ++i) {
    for (const uint32_t word : philox4x32({i, 0, 0, 0}, 7)) bytes += static_cast<char>(word);
  }
  bytes.resize(n);
  return bytes;
}

}  // namespace

TEST(sha256_gives_the_published_digests) {
  EXPECT_EQ(hash_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
                    "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hash_of(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(the_portable_code_gives_the_published_digests) {
  EXPECT_EQ(hash_of("", Sha256::portable()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of(std::string(1000000, 'a'), Sha256::portable()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(every_length_has_one_digest_however_it_is_computed) {
  for (size_t n = 0; n < 300; ++n) {
    const std::string bytes = random_bytes(n);
    EXPECT_EQ(hash_of(bytes), hash_of(bytes, Sha256::portable()));
    Sha256 pieces;
    for (size_t at = 0; at < n; at += 37) pieces.update(std::string_view(bytes).substr(at, 37));
    EXPECT_EQ(to_hex(pieces.finish()), hash_of(bytes));
  }
}

TEST(numbers_are_hashed_as_their_bytes) {
  Sha256 hash;
  hash.update_number(uint32_t{0x64636261});
  EXPECT_EQ(to_hex(hash.finish()), hash_of("abcd"));
}
