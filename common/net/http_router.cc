// Longest-prefix routing and the answers that need no handler.
#include "common/net/http_router.h"

#include <glog/logging.h>

#include <charconv>
#include <exception>
#include <nlohmann/json.hpp>

#include "common/base/strings.h"

namespace penstock {
namespace {

bool Covers(std::string_view prefix, std::string_view path) {
  if (prefix == "/") return true;
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

}  // namespace

HttpResponse HttpResponse::Json(const nlohmann::json& value, int status) {
  return {.status = status,
          .body = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

HttpResponse HttpResponse::Text(std::string text, int status) {
  return {.status = status, .content_type = "text/plain; charset=utf-8", .body = std::move(text)};
}

HttpResponse HttpResponse::Error(int status, std::string_view message) {
  return Json({{"error", message}}, status);
}

void HttpRouter::Add(const std::string& method, const std::string& prefix, HttpServer::Handler handler) {
  CHECK(prefix.starts_with('/') && (prefix == "/" || !prefix.ends_with('/')))
      << "HTTP route '" << prefix << "'";
  for (const Route& route : routes_) {
    CHECK(route.method != method || route.prefix != prefix)
        << "HTTP route " << method << " " << prefix << " is there twice";
  }
  routes_.push_back({method, prefix, std::move(handler)});
}

HttpResponse HttpRouter::Handle(const HttpRequest& request) const {
  size_t longest = 0;
  for (const Route& route : routes_) {
    if (Covers(route.prefix, request.path)) longest = std::max(longest, route.prefix.size());
  }
  if (longest == 0) return HttpResponse::Error(404, StrCat("there is nothing at '", request.path, "'"));
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  std::string allowed;
  for (const Route& route : routes_) {
    if (route.prefix.size() != longest || !Covers(route.prefix, request.path)) continue;
    if (route.method != method) {
      StrAppend(&allowed, allowed.empty() ? "" : ", ", route.method, route.method == "GET" ? ", HEAD" : "");
      continue;
    }
    try {
      return route.handler(request);
    } catch (const std::exception& error) {
      LOG(ERROR) << "HTTP " << request.method << " " << request.path << ": " << error.what();
      return HttpResponse::Error(500, error.what());
    }
  }
  HttpResponse refused = HttpResponse::Error(
      405, StrCat("method ", request.method, " is not allowed at '", request.path, "'; allowed: ", allowed));
  refused.headers.emplace_back("Allow", allowed);
  return refused;
}

bool PercentDecode(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    const std::string_view digits = text.substr(i + 1, 2);
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0) return false;
    out->push_back(static_cast<char>(byte));
    i += 2;
  }
  return true;
}

}  // namespace penstock
