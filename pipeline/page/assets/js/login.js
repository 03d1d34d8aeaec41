// The login form: keeps the address that was asked for, and says when a token was wrong.
const query = new URLSearchParams(location.search);
const form = document.querySelector("form");
const next = query.get("next") ?? "/";
form.action = `/login?next=${encodeURIComponent(next)}`;
if (query.has("wrong")) document.getElementById("wrong").textContent = "This is not the token. Please try again.";
document.getElementById("token").focus();
