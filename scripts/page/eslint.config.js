/** What tsc does not see: unused things, doubtful habits, and ways in which text could become markup or code. */
import js from "@eslint/js";

const MARKUP = "text is never markup here: use core/dom.js";

export default [
  js.configs.recommended,
  {
    files: ["**/*.js"],
    rules: {
      "no-undef": "off", // tsc knows better
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-script-url": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      complexity: ["error", 20],
      "max-lines": ["error", 300],
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map((property) => ({ property, message: MARKUP })),
        { object: "document", property: "write", message: MARKUP },
      ],
      "no-restricted-syntax": [
        "error",
        { selector: "Literal[value=/^https?:\\/\\/(?!www\\.w3\\.org\\/)/]", message: "nothing is fetched from elsewhere" },
        { selector: "CallExpression[callee.name='fetch'] > Literal:first-child", message: "requests go through core/api.js" },
      ],
    },
  },
  { files: ["**/locales/*.js"], rules: { "max-lines": "off" } },
];
