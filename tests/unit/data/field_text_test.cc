// Numbers of every length, beside what the standard library makes of them.
#include "data/field_text.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <random>

namespace penstock {
namespace {

constexpr CharSet kEnds(" \n");

// Text as a parser sees it: digits may well stand behind its end.
std::string WithSlack(const std::string& text, char behind) {
  return text + "\n" + std::string(kTextSlack, behind);
}

TEST(ReadDigits, CountsAndReadsUpToEight) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    std::string digits;
    for (size_t n = random() % 12; n > 0; --n) digits += static_cast<char>('0' + random() % 10);
    // Every byte that may follow, those next to the digits in ASCII and beyond it among them.
    char next = static_cast<char>(random());
    if (IsDigit(next)) next = '/';
    const std::string text = digits + next + std::string(8, static_cast<char>(random()));
    const std::string taken = digits.substr(0, 8);
    uint64_t value = 7;
    ASSERT_EQ(ReadDigits(text.data(), &value), taken.size()) << text;
    ASSERT_EQ(value, taken.empty() ? 0 : std::stoull(taken)) << text;
  }
}

TEST(ParseReal, IsWhatStrtodMakesOfNumbersOfEveryLength) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100'000; ++i) {
    std::string number(random() % 3 == 0 ? "-" : "");
    const size_t whole = random() % 18, fraction = random() % 18;
    for (size_t n = whole; n > 0; --n) number += static_cast<char>('0' + random() % 10);
    if (fraction > 0 || random() % 2 == 0) number += '.';
    for (size_t n = fraction; n > 0; --n) number += static_cast<char>('0' + random() % 10);
    if (random() % 8 == 0) number += "e" + std::to_string(static_cast<int>(random() % 60) - 30);
    const std::string text = WithSlack(number, i % 2 == 0 ? '5' : '\0');
    const char* const end = text.data() + number.size();
    double value = 0;
    const char* const stop = ParseReal(text.data(), end, kEnds, &value);
    if (whole + fraction == 0) {
      EXPECT_NE(stop, end) << number;
      continue;
    }
    ASSERT_EQ(stop, end) << number;
    ASSERT_EQ(value, std::strtod(number.c_str(), nullptr)) << number;
    ASSERT_EQ(std::signbit(value), number[0] == '-') << number;
  }
}

TEST(QuoteField, ShowsWhatATerminalDoesNot) {
  EXPECT_EQ(QuoteField("\xef\xbb\xbf-1"), "'\\xef\\xbb\\xbf-1'");
  EXPECT_EQ(QuoteField("a\tb\r\n"), "'a\\tb\\r\\n'");
  EXPECT_EQ(QuoteField(std::string_view("\0\x1b[m\x7f", 5)), "'\\x00\\x1b[m\\x7f'");
  EXPECT_EQ(QuoteField("1\xc2\xa0"
                       "000\xe2\x80\x8b"),
            "'1\\xc2\\xa0000\\xe2\\x80\\x8b'");
  EXPECT_EQ(QuoteField("Z\xc3\xbcrich \xe2\x82\xac"), "'Z\xc3\xbcrich \xe2\x82\xac'") << "letters stay";
  EXPECT_EQ(QuoteField("Z\xfcrich"), "'Z\\xfcrich'") << "no UTF-8";
  const std::string quoted = QuoteField(std::string(39, 'x') + "\xc3\xbc\xc3\xbc");
  EXPECT_EQ(quoted, "'" + std::string(39, 'x') + "\xc3\xbc...'") << "characters are not cut";
}

TEST(IsNumber, IsOfTheWholeField) {
  for (const char* text : {"1", " -2.5e3 ", "+7", "nan", "inf", "1e999"}) EXPECT_TRUE(IsNumber(text)) << text;
  for (const char* text : {"", " ", "info", "1x", "1,5", "0x10"}) EXPECT_FALSE(IsNumber(text)) << text;
}

TEST(ParseReal, StopsWhereTheNumberDoes) {
  for (const auto& [text, size] :
       {std::pair{"1 2", 1}, {"12345678 9", 8}, {"1.5.5", 3}, {"12.3456789x", 10}}) {
    const std::string padded = WithSlack(text, '0');
    double value = 0;
    const char* const stop =
        ParseReal(padded.data(), padded.data() + std::string_view(text).size(), kEnds, &value);
    ASSERT_NE(stop, nullptr);
    EXPECT_EQ(stop - padded.data(), size) << text;
  }
  for (const char* text : {"", "-", ".", "-.", "x", "--1", " 1"}) {
    const std::string padded = WithSlack(text, '0');
    double value = 0;
    EXPECT_EQ(ParseReal(padded.data(), padded.data() + std::string_view(text).size(), kEnds, &value), nullptr)
        << text;
  }
}

}  // namespace
}  // namespace penstock
