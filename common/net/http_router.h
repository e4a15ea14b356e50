// HttpRouter: which handler a method and a path belong to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/net/http_server.h"

namespace penstock {

class HttpRouter {
 public:
  void Add(const std::string& method, const std::string& prefix, HttpServer::Handler handler);
  // The handler's answer, 404 or 405. A handler that throws: 500 with what it says.
  HttpResponse Handle(const HttpRequest& request) const;

 private:
  struct Route {
    std::string method;
    std::string prefix;
    HttpServer::Handler handler;
  };
  std::vector<Route> routes_;
};

// "%2F" to "/". False for a broken escape or a zero byte.
bool PercentDecode(std::string_view text, std::string* out);

}  // namespace penstock
