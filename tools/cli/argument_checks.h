// What is said of a mistake in the command line: each names the word and says what is allowed, or what may
// have been meant.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace penstock {

// One of these words.
CLI::Validator OneOf(std::vector<std::string> words);
// A whole number of these.
CLI::Validator WholeNumber(uint64_t low = 0, uint64_t high = std::numeric_limits<uint64_t>::max());
// Anything but "".
CLI::Validator NotEmpty();
// "host:port", or the path of a file that holds it.
CLI::Validator SchedulerAddress();

// CLI11 would only say that a subcommand is missing. Of a word that is no command: what to say of it; else
// "".
std::string UnknownCommand(const CLI::App& app, int argc, const char* const* argv);
// After the parser has thrown `error`. A mistyped option is said first, whatever came of it: its value may
// have been taken for something else.
std::string ExplainMistake(const CLI::App& app, const CLI::ParseError& error);

}  // namespace penstock
