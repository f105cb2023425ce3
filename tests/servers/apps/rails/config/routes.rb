Rails.application.routes.draw do
  root "shop#up"
  get "up" => "shop#up"
  get "slow" => "shop#slow"
  get "stream" => "streams#show"
  post "echo" => "shop#echo"
  get "closed" => "shop#closed"
end
