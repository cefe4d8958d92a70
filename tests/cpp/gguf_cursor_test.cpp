#include <cstdio>
#include <fstream>
#include <random>
#include <unistd.h>

#include "cpp/harness.h"
#include "fuzz/raw_gguf.h"
#include "gguf/cursor.h"

using namespace realm;
using namespace realm::gguf;
using namespace realm::test;

namespace {

struct TestFile {
  std::string path = "gguf_cursor_test.bin";
  explicit TestFile(const std::string& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~TestFile() { std::remove(path.c_str()); }
};

std::string noise(size_t n) {
  std::mt19937 random(7);
  std::string bytes(n, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

}  // namespace

TEST(every_mix_of_reads_across_window_edges_gives_the_files_bytes) {
  const std::string bytes = noise(3'000'000);
  const TestFile file(bytes);
  const Part part(file.path);
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Cursor cursor(part);
    uint64_t at = 0;
    while (cursor.remaining() > 0) {
      EXPECT_EQ(cursor.position(), at);
      const uint64_t n =
          std::min<uint64_t>(random() % (random() % 8 == 0 ? 200'000 : 40), cursor.remaining());
      if (random() % 4 == 0) {
        std::vector<std::byte> copied(n);
        cursor.copy(copied, "copy");
        EXPECT(std::ranges::equal(copied, as_bytes(bytes).subspan(at, n)));
      } else if (n >= 8 && random() % 2 == 0) {
        EXPECT(le(cursor.number<uint64_t>("number")) == bytes.substr(at, 8));
        at += 8;
        continue;
      } else {
        EXPECT(cursor.text(n, "text") == std::string_view(bytes).substr(at, n));
      }
      at += n;
    }
    EXPECT_EQ(at, bytes.size());
  }
}

TEST(a_read_beyond_the_end_says_what_it_was_for) {
  const TestFile file("0123456789");
  const Part part(file.path);
  Cursor cursor(part);
  cursor.subject("key", "a\nb");
  cursor.text(4, "name");
  const auto message = EXPECT_ERROR(kFormat, { cursor.number<uint64_t>("text length"); });
  EXPECT_EQ(message,
            "'gguf_cursor_test.bin': key 'a\\x0ab': the file ends inside the text length, which "
            "needs 8 bytes "
            "where 6 are left (byte 4)");
  std::vector<std::byte> out(7);
  EXPECT(contains(EXPECT_ERROR(kFormat, { cursor.copy(out, "array"); }), "needs 7 bytes"));
  EXPECT_ERROR(kFormat, { cursor.text(UINT64_MAX, "text"); });
  EXPECT_EQ(cursor.text(6, "text"), "456789");
}

TEST(a_file_that_shrinks_under_the_cursor_is_an_error) {
  const TestFile file(noise(1 << 20));
  const Part part(file.path);
  Cursor cursor(part);
  cursor.text(100, "text");
  EXPECT_EQ(truncate(file.path.c_str(), 70'000), 0);
  std::vector<std::byte> out(500'000);
  EXPECT(contains(EXPECT_ERROR(kFormat, { cursor.copy(out, "array"); }), "ends at byte 70000"));
}

TEST(a_part_in_memory_gives_no_bytes_that_it_has_not) {
  const std::string bytes = "0123456789";
  const Part part(as_bytes(bytes), nullptr);
  std::vector<std::byte> out(4);
  part.read_at(6, out);
  EXPECT(std::ranges::equal(out, as_bytes("6789")));
  const auto message = EXPECT_ERROR(kFormat, { part.read_at(7, out); });
  EXPECT_EQ(message, "bytes has 10 bytes, needed 4 at byte 7");
  EXPECT_ERROR(kFormat, { part.read_at(UINT64_MAX, out); });
}

TEST(an_empty_part_has_nothing_to_read) {
  const Part part(std::span<const std::byte>(), nullptr);
  Cursor cursor(part);
  EXPECT_EQ(cursor.remaining(), 0u);
  EXPECT(contains(EXPECT_ERROR(kFormat, { cursor.number<uint8_t>("magic"); }), "bytes: "));
  EXPECT(part.bytes().empty());
  EXPECT(cursor.text(0, "text").empty());
}
