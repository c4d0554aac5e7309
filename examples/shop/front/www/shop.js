// Orders go through this server's own CGI script, which asks the API by its name inside the cluster.
const api = "cgi-bin/orders";

async function show() {
  const { orders } = await (await fetch(api)).json();
  document.getElementById("orders").innerHTML = orders
    .reverse()
    .map((order) => `<tr><td>${order.count} ${order.item}<td>${order.total}<td>${order.state}`)
    .join("");
}

for (const button of document.querySelectorAll("button")) {
  button.onclick = async () => {
    await fetch(api, { method: "POST", body: JSON.stringify({ item: button.dataset.item, count: 1 }) });
    await show();
  };
}

show();
setInterval(show, 2000);
