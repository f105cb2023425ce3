<?php
// One page for all paths, "/up" among them.
header("X-Generation: " . (getenv("RAINBOWD_GENERATION") ?: "0"));
$path = parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH);
if ($path === "/stream") {
    for ($number = 0; $number < 10; $number++) {
        echo "$number\n";
        flush();
        usleep(50000);
    }
    echo "end\n";
    return;
}
if ($path === "/slow") {
    usleep(300000);
}
$body = $path;
if ($path === "/echo") {
    $received = file_get_contents("php://input");
    $body = json_encode(["length" => strlen($received), "sha256" => hash("sha256", $received)]);
}
header("Content-Length: " . strlen($body));
echo $body;
