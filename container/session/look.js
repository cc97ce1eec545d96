// What stands in the way on this page. Evaluated in an isolated world: the page's own scripts cannot answer in its place.
(() => {
  const CAPTCHA = /captcha|turnstile|challenges\.cloudflare|arkoselabs|geetest|datadome|perimeterx|awswaf/i;
  const CODE = /(^|[^a-z])(otp|mfa|2fa)([^a-z]|$)|one.?time|verif/i;
  const MARKS = "[id*=captcha i], [class*=captcha i], [name*=captcha i], [id*=challenge-form i], .cf-turnstile";
  const ANSWERS = "[name=g-recaptcha-response], [name=h-captcha-response], [name=cf-turnstile-response]";

  const all = (css) => [...document.querySelectorAll(css)];
  const names = (e) => [e.id, e.className, e.name, e.title].filter((x) => typeof x === "string").join(" ");
  const isSeen = (e) => {
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    return box.width > 8 && box.height > 8 && style.visibility !== "hidden" && style.display !== "none";
  };
  // The badge of the invisible kind stays on pages that ask for nothing.
  const isCaptcha = (e) => isSeen(e) && !e.closest(".grecaptcha-badge");

  const solved = all(ANSWERS).some((e) => e.value);
  const frames = all("iframe").filter((e) => CAPTCHA.test(e.src + " " + names(e)));
  return {
    captcha: !solved && [...frames, ...all(MARKS)].some(isCaptcha),
    secret:
      all("input[type=password]").some(isSeen) ||
      all("input").some((e) => isSeen(e) && (e.autocomplete === "one-time-code" || CODE.test(names(e)))),
  };
})();
